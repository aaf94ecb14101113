import { formatDuration } from "../../core/duration.ts";
import type { CronTime } from "../../model/cron.ts";
import type { ScheduleEntry } from "./schedule-entry.ts";
import type { TimeWatch } from "../../core/time-watch.ts";

/** A schedule for people: settings, where it stands, when it is due next. Times are by the host's wall clock. */
export interface ScheduleSummary {
  name: string;
  state: "active" | "paused" | "disabled" | "ended";
  /** As people write it. */
  timing: string;
  timeZone: string | null;
  run: string | null;
  missedPolicy: string;
  /** How much later than its timing it fires. */
  offsetMs: number;
  spread: string;
  nextMs: number | null;
  fired: number;
  missed: number;
  lastFiredMs: number | null;
  /** The last run that it started since the agent did. */
  lastRun: string | null;
  /** Why the last firing could start none. */
  problem: string | null;
  paused: { by: string; atMs: number } | null;
}

export function scheduleSummary(entry: ScheduleEntry, watch: TimeWatch): ScheduleSummary {
  const { definition, memory, state, offsetMs, dueMs } = entry;
  const { timing } = definition;
  return {
    name: definition.name,
    state,
    timing: timing.kind === "cron" ? timing.text : entry.timing,
    timeZone: timing.kind === "cron" ? timing.zone.name : null,
    run: definition.run,
    missedPolicy: definition.missed,
    offsetMs,
    spread: formatDuration(definition.spreadMs),
    nextMs: dueMs === null ? null : dueMs + shiftToWall(entry, watch),
    fired: memory.fired,
    missed: memory.missed,
    lastFiredMs: memory.lastFiredMs,
    lastRun: entry.lastRun,
    problem: entry.lastProblem,
    paused: memory.paused,
  };
}

/** The coming due times, by the host's wall clock, whether the schedule is paused or not. */
export function comingTimes(entry: ScheduleEntry, watch: TimeWatch, count: number): CronTime[] {
  const { nowMs } = entry.byWall ? watch.wall : watch.trusted;
  const shift = shiftToWall(entry, watch);
  const times: CronTime[] = [];
  const { cursorMs } = entry.memory;
  // An interval goes on from where it stands; whatever is overdue is not one that comes.
  let next = entry.byWall ? entry.next(Math.max(cursorMs, nowMs)) : entry.next(cursorMs);
  if (next !== null && next.atMs < nowMs) next = entry.next(nowMs);
  for (; next !== null && times.length < count; next = entry.next(next.atMs))
    times.push({ ...next, atMs: next.atMs + shift });
  return times;
}

function shiftToWall({ byWall }: ScheduleEntry, watch: TimeWatch): number {
  return byWall ? 0 : Math.round(watch.wall.nowMs - watch.trusted.nowMs);
}
