import { isDuration, parseDuration } from "../core/duration.ts";
import { HoldfastError } from "../core/errors.ts";
import type { Json } from "./json.ts";
import { parseTime } from "./schedule-time.ts";

/** When a run that was put off is due: so long from now, by trusted time, or at a moment of the host's wall clock. */
export type LaterDue = { inMs: number } | { atMs: number };

/** The same as people and plugins write it: `{ in: "5s" }`, or `{ at }` with RFC 3339 or Unix milliseconds. */
export type LaterTime = { in: string } | { at: string | number };

/** Throws `invalid` for what is no time. */
export function parseLaterTime(time: unknown): LaterDue {
  const { in: delay, at } = (time ?? {}) as { in?: unknown; at?: unknown };
  if (typeof delay === "string" && at === undefined && isDuration(delay))
    return { inMs: parseDuration(delay) };
  if (typeof at === "number" && delay === undefined) return { atMs: at };
  if (typeof at === "string" && delay === undefined) return { atMs: parseTime(at) };
  throw new HoldfastError("invalid", "when? in a time like 5s, or at a moment like 2027-01-01T00:00:00Z");
}

/** A run that an action has put off, as the store keeps it until it is due. */
export interface LaterRun {
  id: string;
  /** Unique: what the same step asked for before is there once. */
  key: string;
  pipeline: string;
  params: Json;
  /** Unix milliseconds by the clock of `byWall`. */
  dueMs: number;
  /** The host's wall clock; else trusted time. */
  byWall: boolean;
  /** The action that asked for it; it must be there, and allowed, when the run is due. */
  plugin: string;
  run: string;
  step: string;
  /** Rule that it goes back to, so that its cap on side effects binds. */
  rule: string | null;
  /** Event that the run of who asked goes back to, and the hops of the one that this will be. */
  cause: string | null;
  hops: number;
  /** Wall time. */
  createdMs: number;
}

/** How it ended; `refused`: it could not be started. */
export type LaterEnd = "started" | "cancelled" | "refused";

/** The trigger of their events. */
export const LATER_TRIGGER = "later";
/** Runs of the agent that may be put off at once. */
export const MAX_LATER = 10_000;
/** Characters of JSON of the parameters of each: all of them together are to fit into a store. */
export const MAX_LATER_CHARS = 16 * 1024;
/** Longer than this nobody plans ahead. */
export const MAX_LATER_MS = 10 * 366 * 86_400_000;
