import { toJsonSchema } from "@valibot/to-json-schema";
import type { JsonObject } from "../model/json.ts";
import type { Manifest } from "../model/plugin.ts";
import { bareManifest } from "./definition.ts";
import type { PluginDefinition } from "./holdfast.ts";

/** What a plugin declares, as plain data. `settings` is JSON Schema (draft 7) of what a person writes in `with`. */
export function manifestOf(definition: PluginDefinition): Manifest {
  // Checks and transformations have no place in JSON Schema; valibot applies them when the settings are used.
  const schema = toJsonSchema(definition.settings, { typeMode: "input", errorMode: "ignore" });
  return { ...bareManifest(definition), settings: schema as unknown as JsonObject };
}
