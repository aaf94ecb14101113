import type { Clock } from "../../core/clock.ts";

export interface PaceOptions {
  clock: Pick<Clock, "mono" | "after">;
  /** Of backlog, at most; the hub may ask for less. */
  bytesPerSecond: number;
}

const BATCHES_A_SECOND = 4;

/** How fast closed segments drain: each batch takes its time before the next one may go. Without options there is no bound. */
export class Pace {
  readonly #options: PaceOptions | undefined;
  #bytesPerSecond: number;
  #freeAtMs = 0;

  constructor(options: PaceOptions | undefined) {
    this.#options = options;
    this.#bytesPerSecond = options?.bytesPerSecond ?? Number.POSITIVE_INFINITY;
  }

  /** What the hub asks for, for a session; 0 is nothing. */
  asked(bytesPerSecond: number): void {
    const ours = this.#options?.bytesPerSecond ?? Number.POSITIVE_INFINITY;
    this.#bytesPerSecond = bytesPerSecond > 0 ? Math.min(ours, bytesPerSecond) : ours;
  }

  /** A batch of backlog is no larger, so that fresh rows do not wait long behind it on a link that is as slow as this pace. */
  batchBytes(): number {
    return this.#bytesPerSecond / BATCHES_A_SECOND;
  }

  /** Milliseconds until another batch may go. */
  waitMs(): number {
    return this.#options ? Math.max(0, this.#freeAtMs - this.#options.clock.mono()) : 0;
  }

  took(bytes: number): void {
    if (!this.#options) return;
    const now = this.#options.clock.mono();
    this.#freeAtMs = Math.max(now, this.#freeAtMs) + (bytes / this.#bytesPerSecond) * 1000;
  }
}
