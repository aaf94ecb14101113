import { backoffDelay, type BackoffPolicy } from "../../core/backoff.ts";
import { type BreakerState, nextBreakerState } from "../../model/breaker.ts";

export interface OutputPatience {
  retry: BackoffPolicy;
  breaker: { failures: number; delayMs: number };
}

/** How long a destination that fails is left alone: growing waits, then an open circuit with one try after each delay. */
export class OutputBreaker {
  readonly #patience: OutputPatience;
  readonly #random: () => number;
  state: BreakerState = "closed";
  /** In a row. */
  failures = 0;

  constructor(patience: OutputPatience, random: () => number) {
    this.#patience = patience;
    this.#random = random;
  }

  succeeded(): void {
    this.failures = 0;
    this.state = nextBreakerState(this.state, "succeeded");
  }

  /** Milliseconds to wait before the next try. */
  failed(): number {
    const { retry, breaker } = this.#patience;
    this.failures++;
    this.state = nextBreakerState(this.state, this.failures >= breaker.failures ? "tripped" : "failed");
    if (this.state !== "open") return backoffDelay(retry, this.failures, this.#random);
    // Between half of the delay and all of it: a fleet must not come back in step.
    const open = { kind: "fixed", initialMs: breaker.delayMs, maxMs: breaker.delayMs } as const;
    return backoffDelay(open, this.failures, this.#random);
  }

  /** The wait is over. */
  elapsed(): void {
    this.state = nextBreakerState(this.state, "elapsed");
  }
}
