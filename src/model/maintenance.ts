import { type Cron, nextCron } from "./cron.ts";
import type { Zone } from "./cron-zone.ts";
import type { Match, Mute } from "./silence.ts";

/** When a window is open, by the host's wall clock: from each time of a cron expression on, or once. */
export type WindowTiming =
  | { kind: "cron"; text: string; cron: Cron; zone: Zone; forMs: number }
  | { kind: "once"; fromMs: number; forMs: number };

/** A maintenance window of the configuration: a silence, and with `brake` the brake, while it is open. */
export interface MaintenanceDefinition {
  name: string;
  /** Nothing is silenced when it is empty. */
  match: Match[];
  mute: Mute[];
  brake: boolean;
  timing: WindowTiming;
}

/** What a window that comes by a schedule may last: a longer one is written with from and until. */
export const MAX_WINDOW_MS = 7 * 86_400_000;

/** Silences are known by ids; a window's is its name behind this. */
export const WINDOW_PREFIX = "maintenance:";

/** The beginning of the window that is open at a time; the newest when several overlap. */
export function openSince(timing: WindowTiming, wallMs: number): number | null {
  const { forMs } = timing;
  if (timing.kind === "once")
    return timing.fromMs <= wallMs && wallMs < timing.fromMs + forMs ? timing.fromMs : null;
  const next = (afterMs: number) => nextCron(timing.cron, timing.zone, afterMs)?.atMs ?? Infinity;
  // It began after this, or it is over.
  let from = wallMs - forMs;
  if (next(from) > wallMs) return null;
  // The next time after a moment comes later the later the moment: the last one up to now is found by halves.
  let to = wallMs;
  while (to - from > 1) {
    const middle = Math.floor((from + to) / 2);
    if (next(middle) <= wallMs) from = middle;
    else to = middle;
  }
  return next(from);
}

/** When it opens next after a time; null when it never does. */
export function nextOpening(timing: WindowTiming, afterMs: number): number | null {
  if (timing.kind === "once") return timing.fromMs > afterMs ? timing.fromMs : null;
  return nextCron(timing.cron, timing.zone, afterMs)?.atMs ?? null;
}
