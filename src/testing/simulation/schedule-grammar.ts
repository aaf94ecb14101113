import type { ScheduleDefinition } from "../../model/schedule.ts";
import { MISSED_POLICIES } from "../../model/schedule-policy.ts";
import { parseTiming, type TimingInput, zoneCache } from "../../model/schedule-timing.ts";
import type { LaterDue } from "../../model/schedule-later.ts";
import type { Seeded } from "../seeded.ts";
import { KEYS } from "./names.ts";

/** The simulation's clock begins here. */
export const BEGIN_MS = Date.UTC(2026, 11, 1);

const INTERVALS: TimingInput[] = [{ every: "4m" }, { every: "11m" }];
const CRONS: TimingInput[] = [
  { cron: "*/5 * * * *" },
  { cron: "30 */2 * * *", time_zone: "Europe/Berlin" },
  { cron: "20 7,37 * * * *" },
];

/**
 * Schedules of all kinds. With `trims` none by the calendar: what fires again where the wall clock was set back is known by
 * its event, which is let go of there.
 */
export function randomSchedules(random: Seeded, pipelines: string[], trims: boolean): ScheduleDefinition[] {
  const zones = zoneCache(() => "UTC");
  const kinds: TimingInput[] = [
    random.pick(INTERVALS),
    { cron: random.pick(["@init", "@once"]) },
    { at: new Date(BEGIN_MS + random.int(1, 20) * 60_000).toISOString() },
    ...(trims ? [] : [random.pick(CRONS)]),
  ];
  return kinds
    .filter(() => random.chance(0.5))
    .map((timing, at) => ({
      name: `t${at}`,
      enabled: true,
      timing: parseTiming(timing, zones),
      run: random.chance(0.8) ? random.pick(pipelines) : null,
      params: { k: random.pick(KEYS), v: random.int(0, 9) },
      missed: random.pick(MISSED_POLICIES),
      maxMissed: random.int(1, 3),
      spreadMs: random.pick([0, 90_000]),
    }));
}

/** When an action wants the run that it puts off. */
export function laterDue(random: Seeded): LaterDue {
  if (random.chance(0.3)) return { atMs: BEGIN_MS + random.int(0, 30) * 60_000 };
  return { inMs: random.pick([0, 2_000, 60_000, 900_000]) };
}
