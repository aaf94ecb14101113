import type { Json } from "./json.ts";
import { type Cron, type CronTime, nextCron } from "./cron.ts";
import type { Zone } from "./cron-zone.ts";
import type { MissedPolicy } from "./schedule-policy.ts";

/**
 * When a schedule is due. `cron` and `at` go by the host's wall clock. `every` and `init` go by trusted time, which jumps
 * of the wall clock do not move: `every` counts the time that the host runs. `init` is due as the agent starts; with
 * `once` only the first time that this agent has the schedule.
 */
export type Timing =
  | { kind: "cron"; text: string; cron: Cron; zone: Zone }
  | { kind: "every"; everyMs: number }
  | { kind: "at"; atMs: number }
  | { kind: "init"; once: boolean };

/** A schedule as the agent keeps it: defaults filled in, durations in milliseconds. */
export interface ScheduleDefinition {
  name: string;
  enabled: boolean;
  timing: Timing;
  /** Pipeline to run; null when only its event is wanted. */
  run: string | null;
  params: Json;
  missed: MissedPolicy;
  /** With `all`: how many of them at most, the newest. */
  maxMissed: number;
  /** Due times are put off by a part of this that is the same each time. */
  spreadMs: number;
}

/** What a schedule remembers, in the store as the checkpoint of the trigger `schedule:NAME`. */
export interface ScheduleMemory {
  /** `timingText` of the timing that the cursor is for. */
  timing: string;
  /** The last due time that was settled: fired, or told to be missed. By the clock of the timing. */
  cursorMs: number;
  paused: { by: string; atMs: number } | null;
  fired: number;
  missed: number;
  /** Wall time. */
  lastFiredMs: number | null;
}

/** How late a due time may be met and still be on time: a busy host, an agent that starts again. */
export const LATE_MS = 60_000;
/** Missed times are counted to here; this many stands for this many or more. */
export const MAX_COUNTED = 100;

/** The schedule's place among the triggers: in rules, event sources and checkpoints. */
export const SCHEDULE_PREFIX = "schedule:";

export function isByWall(timing: Timing): boolean {
  return timing.kind === "cron" || timing.kind === "at";
}

/** The timing as people write it. */
export function timingText(timing: Timing, everyText: (ms: number) => string): string {
  switch (timing.kind) {
    case "cron":
      return `${timing.text} ${timing.zone.name}`;
    case "every":
      return `@every ${everyText(timing.everyMs)}`;
    case "at":
      return `@once ${new Date(timing.atMs).toISOString()}`;
    case "init":
      return timing.once ? "@once" : "@init";
  }
}

/** The first due time after `afterMs`, by the clock of the timing and put off by `offsetMs`; null when there is none. */
export function nextDue(timing: Timing, offsetMs: number, afterMs: number): CronTime | null {
  switch (timing.kind) {
    case "cron": {
      const next = nextCron(timing.cron, timing.zone, afterMs - offsetMs);
      return next && { ...next, atMs: next.atMs + offsetMs };
    }
    case "every":
      return { atMs: afterMs + timing.everyMs, shift: null };
    case "at": {
      const atMs = timing.atMs + offsetMs;
      return atMs > afterMs ? { atMs, shift: null } : null;
    }
    case "init":
      return null;
  }
}

/** What is to be done about a schedule now. */
export interface Firing {
  /** Due times that fire, the oldest first, each with the number of missed ones before it that do not. */
  fire: { atMs: number; missed: number }[];
  /** Missed ones for which nothing fires, to be told: how many, the first and the last of them. */
  skipped: { count: number; firstMs: number; lastMs: number } | null;
  /** Everything up to here is settled. */
  cursorMs: number;
}

/**
 * Settles all due times after `cursorMs` up to `nowMs`; null when there is none. `reachedMs`: the time since which the
 * clock has gone on evenly; what was due before it, the clock jumped over. The newest is on time when the clock
 * did not jump over it and it is at most LATE_MS ago; everything else was missed.
 */
export function settle(
  { timing, missed: policy, maxMissed }: Pick<ScheduleDefinition, "timing" | "missed" | "maxMissed">,
  offsetMs: number,
  times: { cursorMs: number; nowMs: number; reachedMs: number },
): Firing | null {
  const { cursorMs, nowMs, reachedMs } = times;
  const due = newestDue(timing, offsetMs, cursorMs, nowMs);
  const newest = due.at(-1);
  if (newest === undefined) return null;
  const isOnTime = newest > reachedMs && nowMs - newest <= LATE_MS;
  const missed = isOnTime ? due.slice(0, -1) : due;
  const onTime = isOnTime ? [newest] : [];
  const kept = policy === "all" ? missed.slice(-maxMissed) : policy === "once" && !isOnTime ? [newest] : [];
  const left = missed.slice(0, missed.length - kept.length);
  const firing = [...kept, ...onTime];
  const fire = firing.map((atMs, index) => ({ atMs, missed: index === 0 ? left.length : 0 }));
  const skipped =
    fire.length > 0 || left.length === 0
      ? null
      : { count: left.length, firstMs: left[0]!, lastMs: left.at(-1)! };
  return { fire, skipped, cursorMs: newest };
}

/** Due times in (from, to], the oldest first: the newest MAX_COUNTED + 1 of them. */
function newestDue(timing: Timing, offsetMs: number, from: number, to: number): number[] {
  const first = nextDue(timing, offsetMs, from)?.atMs;
  if (first === undefined || first > to) return [];
  const second = nextDue(timing, offsetMs, first)?.atMs;
  if (second === undefined || second > to) return [first];
  if (timing.kind === "every") return newestOfGrid(first, timing.everyMs, to);
  const wanted = MAX_COUNTED + 1;
  for (let width = (second - first) * wanted; ; width *= 2) {
    const start = Math.max(from, to - width);
    const due = dueBetween(timing, offsetMs, start, to, wanted);
    if (due.length === wanted || start === from) return due;
  }
}

function newestOfGrid(first: number, everyMs: number, to: number): number[] {
  const count = Math.floor((to - first) / everyMs) + 1;
  const shown = Math.min(count, MAX_COUNTED + 1);
  return Array.from({ length: shown }, (_, index) => first + (count - shown + index) * everyMs);
}

function dueBetween(timing: Timing, offsetMs: number, from: number, to: number, keep: number): number[] {
  const due: number[] = [];
  for (let at = nextDue(timing, offsetMs, from); at !== null && at.atMs <= to;) {
    due.push(at.atMs);
    if (due.length >= 2 * keep) due.splice(0, keep);
    at = nextDue(timing, offsetMs, at.atMs);
  }
  return due.slice(-keep);
}

/** A part of the spread that is the same each time: FNV-1a over the agent and the schedule. */
export function spreadOffset(agentId: string, schedule: string, spreadMs: number): number {
  if (spreadMs <= 0) return 0;
  let hash = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(`${agentId}\n${schedule}`))
    hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
  // The low bits of neighbours are alike; the finalizer of MurmurHash3 mixes them.
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b) >>> 0;
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35) >>> 0;
  hash = (hash ^ (hash >>> 16)) >>> 0;
  // Whole milliseconds; seconds would make thousands of agents meet.
  return Math.floor((hash / 0x1_0000_0000) * spreadMs);
}
