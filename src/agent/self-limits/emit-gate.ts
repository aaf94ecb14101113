import type { Clock } from "../../core/clock.ts";

/**
 * Through which every batch of events goes before it is recorded. While it is held or slowed down, triggers get no answer
 * to what they emitted, and their window closes: nothing is lost, they only wait.
 */
export class EmitGate {
  readonly #clock: Clock;
  #delayMs = 0;
  #held = false;
  #changed = new AbortController();
  #nextAt = 0;
  #waiting = 0;
  #passesAll = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Batches that wait now. */
  get waiting(): number {
    return this.#waiting;
  }

  /** `delayMs`: between two batches of all triggers together. */
  set({ delayMs, held }: { delayMs: number; held: boolean }): void {
    if (this.#passesAll || (delayMs === this.#delayMs && held === this.#held)) return;
    this.#delayMs = delayMs;
    this.#held = held;
    this.#nextAt = 0;
    this.#changed.abort();
    this.#changed = new AbortController();
  }

  /** For an agent that stops: what was emitted is let in, and nothing waits any more. */
  release(): void {
    this.set({ delayMs: 0, held: false });
    this.#passesAll = true;
  }

  async enter(): Promise<void> {
    if (!this.#held && this.#delayMs === 0) return;
    this.#waiting++;
    try {
      while (this.#held) await aborted(this.#changed.signal);
      if (this.#delayMs > 0) await this.#turn();
    } finally {
      this.#waiting--;
    }
  }

  async #turn(): Promise<void> {
    const now = this.#clock.mono();
    this.#nextAt = Math.max(now, this.#nextAt) + this.#delayMs;
    // A change lets those in that wait: there is another delay now, or none.
    await this.#clock.sleep(this.#nextAt - now, this.#changed.signal).catch(() => {});
  }
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
}
