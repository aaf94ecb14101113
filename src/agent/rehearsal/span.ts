import type { RuleDefinition } from "../../model/rule.ts";
import type { PastClock } from "./past-clock.ts";
import type { PastPort } from "./ports.ts";

const PAGE = 2000;

/** Which events are looked at, on the rehearsal's clock, which ends with the host's. Null bounds: there is no such event. */
export interface Span {
  /** The first that rules see, to fill their windows, and when that begins. */
  warmFrom: number;
  warmMs: number;
  /** When that first one came. */
  firstMs: number;
  /** The first that counts. */
  from: number;
  /** From here on it counts: `sinceMs`, or where the history begins. */
  fromMs: number;
  to: number;
  untilMs: number;
  /** The history begins later than was asked for. */
  cut: boolean;
}

/** How far back a rule remembers. */
export function longestMemory(rules: RuleDefinition[]): number {
  return Math.max(0, ...rules.filter((rule) => rule.enabled).map(memoryOf));
}

function memoryOf(rule: RuleDefinition): number {
  const { window, sequence, absence, throttle, cooldownMs, debounceMs } = rule;
  const findings = rule.outcomes.map((each) => (each.kind === "finding" ? (each.resolveAfterMs ?? 0) : 0));
  return Math.max(
    window?.overMs ?? 0,
    sequence?.withinMs ?? 0,
    absence?.forMs ?? 0,
    throttle?.perMs ?? 0,
    cooldownMs + debounceMs,
    ...findings,
  );
}

/**
 * Goes back from the last event, `nowMs` at the latest, as far as it must. The times of the events alone are read. Null when
 * the store has no event before `untilMs`.
 */
export function findSpan(
  past: PastPort,
  clock: PastClock,
  wanted: { sinceMs: number; untilMs: number; warmUpMs: number; nowMs: number },
): Span | null {
  const bounds = past.bounds();
  if (bounds === null) return null;
  const { sinceMs, untilMs, warmUpMs, nowMs } = wanted;
  let later: [n: number, recordedMs: number] | null = null;
  let atMs = nowMs;
  let to: number | null = null;
  let from: number | null = null;
  let warm: { n: number; atMs: number; recordedMs: number } | null = null;
  let before = bounds.last + 1;
  search: for (;;) {
    const page = past.timesBefore(before, PAGE);
    if (page.length === 0) break;
    for (const [n, recordedMs] of page) {
      // What was trimmed is gone but for events that something open still needs: alone they mean nothing.
      if (later !== null && n < later[0] - 1) break search;
      atMs =
        later === null ? Math.min(nowMs, recordedMs) : atMs - clock.elapsed(recordedMs, later[1], later[0]);
      later = [n, recordedMs];
      if (atMs > untilMs) continue;
      if (atMs < sinceMs - warmUpMs) break search;
      to ??= n;
      if (atMs >= sinceMs) from = n;
      warm = { n, atMs, recordedMs };
    }
    before = page.at(-1)![0];
  }
  if (to === null || warm === null) return null;
  const begins = warm.n === later![0];
  const warmMs = begins ? beganBefore(past, clock, warm) : sinceMs - warmUpMs;
  const fromMs = begins ? Math.max(sinceMs, warmMs) : sinceMs;
  return {
    warmFrom: warm.n,
    warmMs,
    firstMs: warm.atMs,
    from: from ?? to + 1,
    fromMs,
    to,
    untilMs,
    cut: fromMs > sinceMs,
  };
}

/** The rules looked on from the time at which the store came into being, when its first event is still there. */
function beganBefore(
  past: PastPort,
  clock: PastClock,
  { n, atMs, recordedMs }: { n: number; atMs: number; recordedMs: number },
): number {
  const beganMs = n === 1 ? past.beganMs() : null;
  return beganMs === null ? atMs : atMs - clock.elapsed(beganMs, recordedMs, n);
}
