import { HoldfastError } from "../core/errors.ts";
import type { Manifest } from "../model/plugin.ts";
import type { PluginDefinition } from "./holdfast.ts";
import { checkSettingNames, readPermissions, readResources } from "./wishes.ts";

export const PLUGIN_NAME = /^[a-z0-9][a-z0-9._-]{0,63}$/;

const WORK = { trigger: "run", action: "run", output: "write" } as const;

/** The plugin that a loaded module declares as its default export. Throws `invalid` with what is missing. */
export function readDefinition(module: unknown): PluginDefinition {
  const definition = (module as { default?: unknown } | null)?.default;
  if (definition === undefined) {
    throw invalid(
      "it has no default export: write `export default defineAction({ … })` (or defineTrigger, defineOutput)",
    );
  }
  const fields = definition as Partial<Record<string, unknown>> | null;
  if (typeof fields !== "object" || fields === null || !isKind(fields.kind)) {
    throw invalid("its default export was not made by defineTrigger, defineAction or defineOutput");
  }
  const { kind, name, description, settings } = fields;
  if (typeof name !== "string" || !PLUGIN_NAME.test(name)) {
    throw invalid(
      `its name ${JSON.stringify(name) ?? "is missing and"} must be 1 to 64 of a-z, 0-9, ".", "_", "-" and start with a letter or digit`,
    );
  }
  if (typeof description !== "string") throw invalid(`${kind} ${name} has no description`);
  if (!isObjectSchema(settings)) {
    throw invalid(`settings of ${kind} ${name} must be an object schema: v.strictObject({ … })`);
  }
  if (typeof fields[WORK[kind]] !== "function")
    throw invalid(`${kind} ${name} has no function \`${WORK[kind]}\``);
  checkSettingNames(readPermissions(fields.permissions, `${kind} ${name}`), settings, `${kind} ${name}`);
  readResources(fields.resources, `${kind} ${name}`);
  return definition as PluginDefinition;
}

/** The manifest without its settings schema, for a worker that is only told to work. */
export function bareManifest(definition: PluginDefinition): Manifest {
  const { kind, name, description } = definition;
  const manifest: Manifest = {
    kind,
    name,
    description,
    settings: {},
    permissions: readPermissions(definition.permissions, `${kind} ${name}`),
    resources: readResources(definition.resources, `${kind} ${name}`),
  };
  if (definition.kind === "action" && definition.effect !== undefined) manifest.effect = definition.effect;
  return manifest;
}

function isKind(value: unknown): value is PluginDefinition["kind"] {
  return value === "trigger" || value === "action" || value === "output";
}

function isObjectSchema(value: unknown): boolean {
  const schema = value as { kind?: unknown; "~run"?: unknown } | null | undefined;
  return typeof schema === "object" && schema?.kind === "schema" && typeof schema["~run"] === "function";
}

function invalid(message: string): HoldfastError {
  return new HoldfastError("invalid", message);
}
