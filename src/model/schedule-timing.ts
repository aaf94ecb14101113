import { isDuration, parseDuration } from "../core/duration.ts";
import { HoldfastError } from "../core/errors.ts";
import { parseCron } from "./cron.ts";
import { Zone } from "./cron-zone.ts";
import type { Timing } from "./schedule.ts";

/** What a configuration may say about when a schedule is due: one of the first four. */
export interface TimingInput {
  cron?: string | undefined;
  every?: string | undefined;
  at?: string | undefined;
  on?: string | undefined;
  time_zone?: string | undefined;
}

export const TIMING_KEYS = ["cron", "every", "at", "on"] as const;
const MIN_EVERY_MS = 1000;
const RFC_3339 = /^\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:\d{2}(?:\.\d{1,9})?(?:[Zz]|[+-]\d{2}:\d{2})$/;

/** `zoneOf` gives a zone by its name, or the host's. Throws `invalid` for what can never be due. */
export function parseTiming(input: TimingInput, zoneOf: (name: string | undefined) => Zone): Timing {
  if (input.every !== undefined) return every(input.every);
  if (input.at !== undefined) return { kind: "at", atMs: parseTime(input.at) };
  if (input.cron === undefined) return { kind: "init", once: false };
  const text = input.cron.trim();
  const [word, ...rest] = text.split(/\s+/);
  const argument = rest.join(" ");
  if (word === "@every") return every(argument);
  if (word === "@init" && argument === "") return { kind: "init", once: false };
  if (word === "@once")
    return argument === "" ? { kind: "init", once: true } : { kind: "at", atMs: parseTime(argument) };
  return { kind: "cron", text, cron: parseCron(text), zone: zoneOf(input.time_zone) };
}

function every(text: string): Timing {
  const everyMs = isDuration(text) ? parseDuration(text) : 0;
  if (everyMs >= MIN_EVERY_MS) return { kind: "every", everyMs };
  throw new HoldfastError("invalid", `"${text.slice(0, 40)}" is no time of 1s or more, like 30s, 5m, 1h`);
}

/** RFC 3339 → Unix milliseconds. Throws `invalid` for anything else, and for days that there are not. */
export function parseTime(text: string): number {
  const atMs = RFC_3339.test(text) ? Date.parse(text.replace(" ", "T")) : Number.NaN;
  const [year, month, day] = text.split(/\D/).map(Number);
  const isDay = new Date(Date.UTC(year!, month! - 1, day)).getUTCDate() === day;
  if (Number.isFinite(atMs) && isDay) return atMs;
  throw new HoldfastError(
    "invalid",
    `"${text.slice(0, 40)}" is no time: write it like 2027-01-01T00:00:00Z or 2027-01-01T00:00:00+02:00`,
  );
}

/** Zones by name, each made once. */
export function zoneCache(hostZone: string): (name: string | undefined) => Zone {
  const zones = new Map<string, Zone>();
  return (name = hostZone) => {
    let zone = zones.get(name);
    if (zone === undefined) zones.set(name, (zone = new Zone(name)));
    return zone;
  };
}
