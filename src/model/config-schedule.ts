import * as v from "valibot";
import { count, described, duration, name, settings } from "./config-fields.ts";
import { MISSED_POLICIES } from "./schedule-policy.ts";

export const scheduleSchema = v.strictObject({
  name: described(name, "Name of this schedule; rules refer to it with on: schedule:NAME"),
  enabled: v.optional(v.boolean(), true),
  cron: described(
    v.optional(v.pipe(v.string(), v.minLength(1), v.maxLength(200))),
    "Five fields, six with seconds first, @daily and the like, @every DURATION, @init, or @once TIME",
  ),
  every: described(v.optional(duration), "Time from one firing to the next, 1s or more"),
  at: described(v.optional(v.string()), "One moment, RFC 3339, like 2027-01-01T00:00:00Z"),
  on: described(v.optional(v.picklist(["init"])), "init: each time that the agent starts"),
  time_zone: described(v.optional(v.string()), "Zone of cron, like Europe/Berlin; default: the host's"),
  run: described(v.optional(name), "Pipeline to run; without it there is only the event"),
  params: described(v.optional(settings, {}), "Parameters of the pipeline"),
  missed: described(
    v.optional(v.picklist(MISSED_POLICIES), "skip"),
    "Due times that passed while the agent was not there: none, one or all of them are made up for",
  ),
  max_missed: described(
    v.optional(count(100), 100),
    "With missed: all, how many of them at most, the newest",
  ),
  spread: described(
    v.optional(duration, "0s"),
    "Fires later by a part of this, which is the same each time and another one on each agent",
  ),
});

export type ScheduleConfig = v.InferOutput<typeof scheduleSchema>;
