import { formatDuration } from "../../core/duration.ts";
import type { ScheduleEntry } from "./schedule-entry.ts";

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

export function scheduleSummary(entry: ScheduleEntry, nextMs: number | null): ScheduleSummary {
  const { definition, memory, state, offsetMs } = entry;
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
    nextMs,
    fired: memory.fired,
    missed: memory.missed,
    lastFiredMs: memory.lastFiredMs,
    lastRun: entry.lastRun,
    problem: entry.lastProblem,
    paused: memory.paused,
  };
}
