import type { PastPort } from "./ports.ts";

/** A jump of the wall clock that the agent noticed. */
interface Jump {
  n: number;
  atMs: number;
  byMs: number;
}

/** An event that comes so long before that of a jump may be the first one after the jump. */
const NOTICED_MS = 900_000;
/** What a clock may have been put right by beside a jump, and how exactly a jump is known. */
const SLACK_MS = 60_000;

/**
 * How much trusted time went by between two stored events: what the wall clock did, but for its jumps. Where it went back
 * and nobody noticed (the agent was off, or it was by little), no time is taken to have gone by.
 */
export class PastClock {
  readonly #jumps: Jump[];

  constructor(past: Pick<PastPort, "eventsOf" | "body">, sources: string[]) {
    this.#jumps = sources
      .flatMap((source) => past.eventsOf(source, "clock.jumped"))
      .flatMap((event): Jump[] => {
        const { data } = JSON.parse(past.body(event)) as { data?: { byMs?: unknown } };
        return typeof data?.byMs === "number"
          ? [{ n: event.n, atMs: event.recordedMs, byMs: data.byMs }]
          : [];
      })
      .toSorted((a, b) => a.n - b.n);
  }

  /** `n` and `toMs` are of the later event. */
  elapsed(fromMs: number, toMs: number, n: number): number {
    const wentBy = toMs - fromMs;
    const jump = this.#noticedAfter(n);
    const jumped = jump !== undefined && Math.abs(jump.atMs - toMs) <= NOTICED_MS && fits(jump.byMs, wentBy);
    return Math.max(0, jumped ? wentBy - jump.byMs : wentBy);
  }

  /** True when wall times since this event cannot be held against those before it. */
  jumpedSince(n: number): boolean {
    return this.#noticedAfter(n) !== undefined;
  }

  #noticedAfter(n: number): Jump | undefined {
    let low = 0;
    let high = this.#jumps.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#jumps[middle]!.n < n) low = middle + 1;
      else high = middle;
    }
    return this.#jumps[low];
  }
}

/** A clock that went back shows; one that went forward leaves at least that much between two events. */
function fits(byMs: number, wentBy: number): boolean {
  return byMs > 0 ? wentBy >= byMs - SLACK_MS : wentBy < 0 && wentBy >= byMs - SLACK_MS;
}
