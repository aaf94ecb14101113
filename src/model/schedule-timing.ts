import { isDuration, parseDuration } from "../core/duration.ts";
import { HoldfastError } from "../core/errors.ts";
import { parseCron } from "./cron.ts";
import { Zone } from "./cron-zone.ts";
import type { Timing } from "./schedule.ts";
import { parseTime } from "./schedule-time.ts";

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

/** Zones by name, each made once. `hostZone` is asked where none is named. */
export function zoneCache(hostZone: () => string): (name: string | undefined) => Zone {
  const zones = new Map<string, Zone>();
  return (name = hostZone()) => {
    let zone = zones.get(name);
    if (zone === undefined) zones.set(name, (zone = new Zone(name)));
    return zone;
  };
}
