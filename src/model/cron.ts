import { HoldfastError, messageOf } from "../core/errors.ts";
import type { Zone } from "./cron-zone.ts";

const SECOND_MS = 1000;
const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;
const SECONDS = 60;

/**
 * A cron expression. `minutes` is its five fields without the seconds. With `everyHour` (the field of hours is
 * `*`) it goes by the hours that there are, also by one that comes twice; without, by what clocks show.
 */
export interface Cron {
  minutes: string;
  /** 0 to 59, the lowest first. */
  seconds: number[];
  everyHour: boolean;
}

export interface CronTime {
  atMs: number;
  /** `gap`: the clocks are put forward over the time, and this is the first moment after it. `twice`: the first of two. */
  shift: "gap" | "twice" | null;
}

/** Five fields, six with seconds first, or a nickname like `@daily`. Throws `invalid` for anything else, and for what never comes. */
export function parseCron(text: string): Cron {
  const fields = text.trim().split(/\s+/);
  const withSeconds = fields.length === 6;
  const minutes = (withSeconds ? fields.slice(1) : fields).join(" ");
  const seconds = withSeconds ? secondsOf(fields[0]!, text) : [0];
  let next: number | null;
  try {
    next = nextMinute(minutes, 0);
  } catch (error) {
    const reason = messageOf(error)
      .replace(/^Invalid cron expression: /, "")
      .split(". Bun.cron")[0];
    throw invalid(text, reason!);
  }
  if (next === null) throw invalid(text, "no such day ever comes");
  const hours = minutes === "@hourly" ? "*" : minutes.split(" ")[1];
  return { minutes, seconds, everyHour: hours === "*" };
}

/** The first time after `afterMs`; null when there is none within eight years. */
export function nextCron(cron: Cron, zone: Zone, afterMs: number): CronTime | null {
  return cron.everyHour ? nextByHours(cron, zone, afterMs) : nextByClock(cron, zone, afterMs);
}

/** What clocks show counts: a time that they are put over comes at once, one that they show twice only the first time. */
function nextByClock(cron: Cron, zone: Zone, afterMs: number): CronTime | null {
  for (let local = nextLocal(cron, zone.local(afterMs)); local !== null;) {
    const [first, second] = zone.moments(local);
    if (first === undefined) return { atMs: endOfGap(zone, local), shift: "gap" };
    if (first > afterMs) return { atMs: first, shift: second === undefined ? null : "twice" };
    // `afterMs` lies in the second round already: on to the end of what is shown twice.
    const change = zone.change(first, second ?? afterMs);
    local = nextLocal(cron, change + zone.offset(first) - 1);
  }
  return null;
}

function nextByHours(cron: Cron, zone: Zone, afterMs: number): CronTime | null {
  const offset = zone.offset(afterMs);
  const local = nextLocal(cron, afterMs + offset);
  if (local === null) return null;
  const atMs = local - offset;
  if (zone.offset(atMs) === offset) return { atMs, shift: null };
  const change = firstChange(zone, afterMs, atMs);
  const from = nextLocal(cron, zone.local(change) - 1);
  if (from === null) return null;
  const moment = from - zone.offset(change);
  return zone.offset(moment) === zone.offset(change)
    ? { atMs: moment, shift: null }
    : nextByHours(cron, zone, change);
}

/** Day by day: between two moments far apart the offset may have changed and changed back. */
function firstChange(zone: Zone, from: number, to: number): number {
  for (let day = from; ; day += DAY_MS) {
    const end = Math.min(to, day + DAY_MS);
    if (zone.offset(end) !== zone.offset(day)) return zone.change(day, end);
  }
}

/** The moment at which clocks are put forward over this. */
function endOfGap(zone: Zone, local: number): number {
  const around = [local - DAY_MS, local + DAY_MS] as const;
  return zone.change(local - Math.max(...around.map((at) => zone.offset(at))) - 1, around[1]);
}

/** The first after `local`, by a clock that nobody changes. */
function nextLocal({ minutes, seconds }: Cron, local: number): number | null {
  const minute = Math.floor(local / MINUTE_MS) * MINUTE_MS;
  const inMinute = seconds.find((second) => minute + second * SECOND_MS > local);
  if (inMinute !== undefined && nextMinute(minutes, minute - 1) === minute)
    return minute + inMinute * SECOND_MS;
  const next = nextMinute(minutes, minute);
  return next === null ? null : next + seconds[0]! * SECOND_MS;
}

function nextMinute(minutes: string, after: number): number | null {
  return Bun.cron.parse(minutes, after, { tz: "UTC" })?.getTime() ?? null;
}

function secondsOf(field: string, text: string): number[] {
  const found = new Set<number>();
  for (const part of field.split(",")) {
    const match = /^(?:(\*)|(\d{1,2})(?:-(\d{1,2}))?)(?:\/(\d{1,2}))?$/.exec(part);
    if (match === null) throw invalid(text, "the first of six fields, the seconds, is not as it must be");
    const [, all, first, last, step] = match;
    const from = all ? 0 : Number(first);
    const to = all || (step !== undefined && last === undefined) ? SECONDS - 1 : Number(last ?? first);
    const by = Number(step ?? 1);
    if (to >= SECONDS || from > to || by < 1) throw invalid(text, "seconds go from 0 to 59, in rising order");
    for (let second = from; second <= to; second += by) found.add(second);
  }
  return [...found].sort((a, b) => a - b);
}

function invalid(text: string, reason: string): HoldfastError {
  return new HoldfastError(
    "invalid",
    `the cron expression ${JSON.stringify(text.slice(0, 80))} cannot be used: ${reason}`,
  );
}
