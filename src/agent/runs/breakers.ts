import type { BreakerDefinition } from "../../model/pipeline.ts";
import {
  breakerDestination,
  type BreakerEvent,
  type BreakerState,
  nextBreakerState,
} from "../../model/breaker.ts";
import type { AttemptOutcome } from "../../model/run-transitions.ts";

interface Breaker {
  state: BreakerState;
  /** Failures in a row. */
  failures: number;
  /** Trusted milliseconds. */
  openedMs: number;
  /** The one call of `half_open` is under way. */
  probing: boolean;
}

/** A destination as it was found before a call: what to tell when the call has ended. */
export interface Passage {
  destination: string;
  definition: BreakerDefinition;
}

/** Told errors that speak against the destination; the others are an answer of it. */
const FAILURE_CODES: ReadonlySet<string> = new Set(["unreachable", "unavailable", "timed_out", "failed"]);
/** Destinations come from templates: those that work are forgotten first, then the oldest. */
const MAX_DESTINATIONS = 1000;
/** A circuit that nobody calls stays open, and is no news any more after this. */
const NEWS_MS = 10 * 60_000;

/** Circuit breakers by destination, in memory: after a restart every destination gets its chance again. */
export class Breakers {
  readonly #breakers = new Map<string, Breaker>();
  refused = 0;

  /** Null when a call may go; else the reason why not. */
  refusal({ destination, definition }: Passage, nowMs: number): string | null {
    const breaker = this.#breakers.get(destination);
    if (!breaker || breaker.state === "closed") return null;
    const leftMs = breaker.openedMs + definition.delayMs - nowMs;
    if (breaker.state === "open" && leftMs <= 0) move(breaker, "elapsed");
    if (breaker.state === "half_open" && !breaker.probing) {
      breaker.probing = true;
      return null;
    }
    this.refused++;
    const wait =
      breaker.state === "open" ? `for another ${Math.ceil(leftMs / 1000)} s` : "while one call tries it";
    return `circuit open: ${destination} failed ${breaker.failures} times in a row; calls are refused ${wait}`;
  }

  /** Whether a call may go without being the one that tries the destination. */
  isClosed({ destination }: Passage): boolean {
    const breaker = this.#breakers.get(destination);
    return !breaker || breaker.state === "closed";
  }

  /** A call that was let through did not take place after all. */
  withdraw({ destination }: Passage): void {
    const breaker = this.#breakers.get(destination);
    if (breaker) breaker.probing = false;
  }

  observe({ destination, definition }: Passage, outcome: AttemptOutcome, nowMs: number): void {
    let breaker = this.#breakers.get(destination);
    if (outcome.kind === "ok") {
      if (!breaker) return;
      move(breaker, "succeeded");
      breaker.probing = false;
      if (breaker.state === "closed") this.#breakers.delete(destination);
      return;
    }
    if (!speaksAgainst(outcome)) return this.withdraw({ destination, definition });
    if (!breaker) this.#breakers.set(destination, (breaker = this.#fresh()));
    breaker.failures++;
    breaker.probing = false;
    const before = breaker.state;
    move(breaker, breaker.failures >= definition.failures ? "tripped" : "failed");
    if (breaker.state === "open" && before !== "open") breaker.openedMs = nowMs;
  }

  list(): { destination: string; state: BreakerState; failures: number }[] {
    return [...this.#breakers].map(([destination, { state, failures }]) => ({
      destination,
      state,
      failures,
    }));
  }

  /** The destinations that calls do not reach, for the health checks. */
  news(nowMs: number): string[] {
    const open = [...this.#breakers].filter(
      ([, { state, openedMs }]) => state !== "closed" && nowMs - openedMs < NEWS_MS,
    );
    return open.map(([destination, { failures }]) => `${destination} failed ${failures} times in a row`);
  }

  #fresh(): Breaker {
    if (this.#breakers.size >= MAX_DESTINATIONS) {
      const closed = [...this.#breakers].find(([, breaker]) => breaker.state === "closed");
      this.#breakers.delete((closed ?? [...this.#breakers][0]!)[0]);
    }
    return { state: "closed", failures: 0, openedMs: 0, probing: false };
  }
}

export function passage(definition: BreakerDefinition, text: string): Passage {
  return { destination: breakerDestination(text), definition };
}

function move(breaker: Breaker, event: BreakerEvent): void {
  breaker.state = nextBreakerState(breaker.state, event);
}

function speaksAgainst(outcome: Exclude<AttemptOutcome, { kind: "ok" }>): boolean {
  const { code, retryable } = outcome.error;
  if (outcome.kind === "unknown") return code === "timed_out";
  return retryable && FAILURE_CODES.has(code);
}
