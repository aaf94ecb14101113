import { pathToFileURL } from "node:url";
import { HoldfastError, messageOf } from "../../core/errors.ts";
import type { PluginEntry } from "../../model/plugin.ts";
import { readDefinition } from "../../sdk/definition.ts";
import * as sdk from "../../sdk/holdfast.ts";

/** Gives the module of a shipped plugin; undefined when there is none of this id. */
export type ShippedLoader = (id: string) => Promise<unknown>;

/** Loads a plugin into this process. Throws with what is wrong with it. */
export async function loadPlugin(entry: PluginEntry, shipped: ShippedLoader): Promise<sdk.PluginDefinition> {
  if ("shipped" in entry) {
    const module = await shipped(entry.shipped);
    if (module === undefined)
      throw new HoldfastError("not_found", `there is no shipped plugin ${entry.shipped}`);
    return readDefinition(module);
  }
  if ("script" in entry) {
    throw new HoldfastError("invalid", `${entry.script.entry} is a script: a plugin host cannot load it`);
  }
  offerSdk();
  let module: unknown;
  try {
    module = await import(pathToFileURL(entry.file).href);
  } catch (error) {
    throw new HoldfastError("failed", `cannot load ${entry.file}: ${loadMessage(error)}`, { cause: error });
  }
  try {
    return readDefinition(module);
  } catch (error) {
    throw new HoldfastError("invalid", `${entry.file} is not a plugin: ${messageOf(error)}`);
  }
}

/** `import … from "holdfast"` in a plugin means the SDK in this executable, wherever the plugin's file lies. */
function offerSdk(): void {
  Bun.plugin({
    name: "holdfast-sdk",
    setup(build) {
      build.module("holdfast", () => ({ exports: { ...sdk }, loader: "object" }));
    },
  });
}

/** Syntax errors come as a group of messages with places. */
function loadMessage(error: unknown): string {
  const inner = (error as { errors?: unknown[] } | null)?.errors;
  const first = Array.isArray(inner) ? inner[0] : error;
  const place = (first as { position?: { line: number; column: number } | null } | null)?.position;
  const name = first instanceof Error && first.name !== "Error" ? `${first.name}: ` : "";
  return `${place ? `line ${place.line}, column ${place.column}: ` : ""}${name}${messageOf(first)}`;
}
