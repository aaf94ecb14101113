import * as v from "valibot";
import { described, name, settings } from "./config-fields.ts";

export const triggerSchema = v.strictObject({
  name: described(name, "Name of this trigger; rules refer to it"),
  plugin: described(name, "Trigger plugin to run"),
  enabled: v.optional(v.boolean(), true),
  with: described(v.optional(settings, {}), "Settings of the plugin"),
});

export type TriggerConfig = v.InferOutput<typeof triggerSchema>;
