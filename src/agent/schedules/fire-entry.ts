import type { TimeWatch } from "../../core/time-watch.ts";
import type { ProposedEvent } from "../../model/event.ts";
import type { Json } from "../../model/json.ts";
import { type Firing, type ScheduleMemory, settle } from "../../model/schedule.ts";
import type { StartingEvent } from "./ports.ts";
import type { ScheduleEntry } from "./schedule-entry.ts";

/** What is due of a schedule now, or null. */
export function firingOf(entry: ScheduleEntry, watch: TimeWatch): Firing | null {
  const { definition, memory, offsetMs, initMs, byWall } = entry;
  if (!entry.runs) return null;
  const { nowMs, reachedMs } = byWall ? watch.wall : watch.trusted;
  if (definition.timing.kind !== "init")
    return settle(definition, offsetMs, { cursorMs: memory.cursorMs, nowMs, reachedMs });
  if (initMs === null || initMs > nowMs) return null;
  return { fire: [{ atMs: initMs, missed: 0 }], skipped: null, cursorMs: initMs };
}

/** Events of a firing and what the schedule remembers after it. */
export function firingEvents(
  entry: ScheduleEntry,
  firing: Firing,
  problem: string | null,
): { event: ProposedEvent & { id: string }; start: StartingEvent["start"] }[] {
  const { name, run, params } = entry.definition;
  const due = firing.fire.map(({ atMs, missed }) => ({
    event: {
      // The same each time that it is tried, so that a due time is kept and started once.
      id: eventId(entry, atMs),
      type: "schedule.due",
      subject: name,
      data: { scheduledMs: atMs, missed, ...(problem === null ? {} : { problem }) } as Json,
    },
    start:
      run === null || problem !== null
        ? null
        : { pipeline: run, starter: { kind: "schedule" as const, by: name }, params },
  }));
  const { skipped } = firing;
  if (skipped === null) return due;
  const { count, firstMs, lastMs } = skipped;
  const event = {
    id: `${name}@missed-${firstMs}-${lastMs}`,
    type: "schedule.missed",
    subject: name,
    data: { missed: count, firstMs, lastMs },
  };
  return [...due, { event, start: null }];
}

/** What the schedule remembers once it is done. */
export function memoryAfter(entry: ScheduleEntry, firing: Firing, wallMs: number): ScheduleMemory {
  const { memory } = entry;
  const { fire, cursorMs } = firing;
  return {
    ...memory,
    cursorMs,
    fired: memory.fired + fire.length,
    missed: memory.missed + missedOf(firing),
    lastFiredMs: fire.length > 0 ? wallMs : memory.lastFiredMs,
  };
}

/** Due times for which nothing fires. */
export function missedOf({ fire, skipped }: Firing): number {
  return fire.reduce((sum, { missed }) => sum + missed, skipped?.count ?? 0);
}

function eventId({ definition }: ScheduleEntry, atMs: number): string {
  const { name, timing } = definition;
  if (timing.kind !== "init") return `${name}@${atMs}`;
  return timing.once ? `${name}@first` : `${name}@init-${atMs}`;
}
