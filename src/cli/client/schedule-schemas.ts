import * as v from "valibot";

/** What the control socket answers about schedules and runs that are put off (agent/local/control-schedules.ts). */
export const scheduleSchema = v.looseObject({
  name: v.string(),
  state: v.string(),
  timing: v.string(),
  timeZone: v.nullable(v.string()),
  run: v.nullable(v.string()),
  nextAt: v.nullable(v.string()),
  fired: v.number(),
  missed: v.number(),
  lastFiredAt: v.nullable(v.string()),
  problem: v.nullable(v.string()),
  pausedBy: v.nullable(v.string()),
  pausedAt: v.nullable(v.string()),
});
export type ScheduleItem = v.InferOutput<typeof scheduleSchema>;
export const laterSchema = v.looseObject({
  id: v.string(),
  pipeline: v.string(),
  plugin: v.string(),
  run: v.string(),
  step: v.string(),
  at: v.string(),
});
export type LaterItem = v.InferOutput<typeof laterSchema>;
export const dueSchema = v.looseObject({ at: v.string(), shift: v.nullable(v.string()) });
