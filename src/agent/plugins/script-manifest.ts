import { join } from "node:path";
import * as v from "valibot";
import { HoldfastError } from "../../core/errors.ts";
import { type ConfigProblem, formatProblem } from "../../model/config-problem.ts";
import type { JsonObject } from "../../model/json.ts";
import { permissionsSchema, resourcesSchema } from "../../model/permissions.ts";
import { EFFECTS } from "../../model/pipeline.ts";
import type { Manifest, ScriptEntry } from "../../model/plugin.ts";
import { settingsSchemaProblem } from "../../model/settings-schema.ts";
import { PLUGIN_NAME } from "../../sdk/definition.ts";
import { programProblem, realProgram } from "./script-program.ts";

/** Manifest of a script, beside it. */
export const SCRIPT_MANIFEST = "plugin.yaml";

const MAX_SETTINGS_BYTES = 64 * 1024;

type Path = (string | number)[];
type Details = Pick<ConfigProblem, "expected" | "actual" | "suggestion">;

/** Takes what is wrong with a manifest, and knows the places in it. */
export interface ManifestReport {
  value(path: Path, message: string, details?: Details): void;
  key(path: Path, message: string, details?: Details): void;
  suggest(word: string, names: Iterable<string>): { suggestion?: string };
}

/** Reads and checks one YAML file; `more` says what a schema cannot. */
export type ReadDocument = <S extends v.GenericSchema>(
  schema: S,
  file: string,
  more: (value: v.InferOutput<S>, report: ManifestReport) => void | Promise<void>,
) => Promise<{ value: v.InferOutput<S> | null; problems: ConfigProblem[] }>;

const manifestSchema = v.strictObject({
  name: v.pipe(
    v.string(),
    v.regex(PLUGIN_NAME, "1 to 64 of a-z, 0-9, `.`, `_`, `-`, a letter or digit first"),
  ),
  kind: v.picklist(["trigger", "action", "output"]),
  description: v.pipe(v.string(), v.maxLength(1024)),
  runtime: v.picklist(["exec"]),
  entry: v.pipe(v.string(), v.minLength(1), v.maxLength(1024)),
  settings: v.optional(v.record(v.string(), v.any())),
  effect: v.optional(v.picklist(EFFECTS)),
  mode: v.optional(v.picklist(["once", "lines"])),
  plain: v.optional(v.boolean()),
  calls: v.optional(v.boolean()),
  state: v.optional(v.boolean()),
  permissions: v.optional(permissionsSchema, {}),
  resources: v.optional(resourcesSchema, {}),
  env: v.optional(
    v.record(
      v.pipe(v.string(), v.regex(/^[A-Za-z_]\w{0,127}$/, "a variable's name: letters, digits, _")),
      v.pipe(
        v.string(),
        v.maxLength(16 * 1024),
        v.check((text) => !text.includes("\0"), "text without a zero byte"),
      ),
    ),
    {},
  ),
});
type Written = v.InferOutput<typeof manifestSchema>;

export interface ScriptPlugin {
  manifest: Manifest;
  script: ScriptEntry;
}

/** The script in this folder as its plugin.yaml declares it. Throws `invalid` with everything that is wrong, each with its place. */
export async function readScriptManifest(folder: string, readDocument: ReadDocument): Promise<ScriptPlugin> {
  const file = join(folder, SCRIPT_MANIFEST);
  const { value, problems } = await readDocument(manifestSchema, file, async (written, report) => {
    checkFit(written, report);
    checkSettings(written, report);
    checkSettingNames(written, report);
    const problem = await programProblem(folder, written.entry);
    if (problem !== null) report.value(["entry"], problem);
  });
  if (value === null) throw new HoldfastError("invalid", problems.map(formatProblem).join("\n"));
  const { name, kind, description, effect, permissions, resources, env } = value;
  return {
    manifest: {
      name,
      kind,
      description,
      settings: settingsOf(value),
      ...(effect === undefined ? {} : { effect }),
      permissions,
      resources,
    },
    script: {
      folder,
      entry: await realProgram(folder, value.entry),
      mode: value.mode ?? (kind === "trigger" ? "lines" : "once"),
      plain: value.plain ?? false,
      ...(value.calls ? { calls: true } : {}),
      ...(value.state ? { state: true } : {}),
      env,
    },
  };
}

/** Without a schema a script takes no settings; a schema that does not say so takes no unknown ones. */
function settingsOf({ settings }: Written): JsonObject {
  return { type: "object", additionalProperties: false, ...(settings as JsonObject | undefined) };
}

/** Keys that have a meaning for one kind only. */
function checkFit({ kind, effect, mode, plain, calls, env }: Written, report: ManifestReport): void {
  if (effect !== undefined && kind !== "action") {
    report.key(["effect"], `only an action has an effect; this is ${kind === "output" ? "an" : "a"} ${kind}`);
  }
  if (mode === "once" && kind === "trigger") {
    report.value(["mode"], "a trigger runs all the time", { expected: "lines", actual: '"once"' });
  }
  if (plain !== undefined && kind !== "trigger") {
    report.key(["plain"], "only the lines of a trigger can be plain");
  }
  if (calls && (kind !== "action" || mode === "lines")) {
    report.key(["calls"], "only an action with a process for each call (mode: once) adds steps");
  }
  for (const name of Object.keys(env)) {
    if (name.startsWith("HOLDFAST_")) report.key(["env", name], "names with HOLDFAST_ are the agent's");
  }
}

function checkSettings(written: Written, report: ManifestReport): void {
  const settings = settingsOf(written);
  const bytes = Buffer.byteLength(JSON.stringify(settings));
  if (bytes > MAX_SETTINGS_BYTES) {
    return report.key(["settings"], `the schema has ${bytes} bytes, at most ${MAX_SETTINGS_BYTES} may be`);
  }
  const problem = settingsSchemaProblem(settings, ["settings"]);
  if (problem === null) return;
  const { path, message, known } = problem;
  const word = /"([^"]*)"/.exec(message)?.[1];
  const expected = known.length === 0 ? {} : { expected: `one of ${known.join(", ")}` };
  report.value(path, message, { ...expected, ...(word === undefined ? {} : report.suggest(word, known)) });
}

/** `${settings.x}` in a permission must name a setting: a slip would silently grant nothing. */
function checkSettingNames(written: Written, report: ManifestReport): void {
  const known = Object.keys((settingsOf(written).properties ?? {}) as JsonObject);
  for (const [permission, items] of Object.entries(written.permissions)) {
    if (!Array.isArray(items)) continue;
    for (const [index, item] of items.entries()) {
      for (const [, name] of item.matchAll(/\$\{(?:\w+\()?settings\.([\w-]+)/g)) {
        if (known.includes(name!)) continue;
        report.value(["permissions", permission, index], `there is no setting ${JSON.stringify(name)}`, {
          expected: known.length === 0 ? "a setting; this plugin has none" : `one of ${known.join(", ")}`,
          ...report.suggest(name!, known),
        });
      }
    }
  }
}
