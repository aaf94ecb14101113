import * as v from "valibot";
import { described, duration, name } from "./config-fields.ts";
import { MUTES } from "./silence.ts";

const pattern = v.pipe(v.string(), v.minLength(1), v.maxLength(256));

export const maintenanceSchema = v.strictObject({
  name: described(name, "Name of this window; silence list shows it as maintenance:NAME"),
  enabled: v.optional(v.boolean(), true),
  match: described(
    v.optional(v.record(v.string(), pattern), {}),
    "What is silenced: rule, namespace, pipeline, trigger, type, subject, key, severity, label.NAME; * stands for any text",
  ),
  schedule: described(
    v.optional(v.pipe(v.string(), v.minLength(1), v.maxLength(200))),
    "When it opens: five fields, six with seconds first, or @daily and the like",
  ),
  time_zone: described(v.optional(v.string()), "Zone of schedule, like Europe/Berlin; default: the host's"),
  for: described(v.optional(duration), "How long it is open each time, 7d at most"),
  from: described(v.optional(v.string()), "Opens once, at this time, RFC 3339, like 2027-01-01T00:00:00Z"),
  until: described(v.optional(v.string()), "With from: when it closes"),
  mute: described(
    v.optional(v.array(v.picklist(MUTES)), [...MUTES]),
    "What rules that match are kept from: runs, findings, events",
  ),
  brake: described(
    v.optional(v.boolean(), false),
    "While it is open nothing begins that no person started, of any rule or schedule",
  ),
});

export type MaintenanceConfig = v.InferOutput<typeof maintenanceSchema>;
