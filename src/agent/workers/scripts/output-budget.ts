import type { Clock } from "../../../core/clock.ts";

/** Bytes that a script may print: in all, or within each window of time. */
export class OutputBudget {
  readonly #limit: number;
  readonly #windowMs: number;
  readonly #clock: Clock;
  #since: number;
  #spent = 0;

  constructor(limit: number, clock: Clock, windowMs = Number.POSITIVE_INFINITY) {
    this.#limit = limit;
    this.#clock = clock;
    this.#windowMs = windowMs;
    this.#since = clock.mono();
  }

  /** False from the byte on that is too many. */
  spend(bytes: number): boolean {
    const now = this.#clock.mono();
    if (now - this.#since >= this.#windowMs) {
      this.#since = now;
      this.#spent = 0;
    }
    this.#spent += bytes;
    return this.#spent <= this.#limit;
  }
}
