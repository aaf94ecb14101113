const MB = 1024 ** 2;
const SLOW_MS = 250;
const FAST_MS = 50;
const NEAR_MS = 20;
/** A fresh worker is looked at often: what it is like is not known yet. */
const FRESH_MS = 1_000;
/** A worker that stays as it is near its limit costs no fast looks for ever. */
const STEADY_MS = 2_000;
/** Less than this is not growth. */
const NOISE_BYTES = MB;

/** Says when to look at a worker's memory again: often while it grows or is near its limit, seldom else. */
export class MemoryWatch {
  readonly #limit: number;
  #startedAt: number | undefined;
  #steadySince = 0;
  #level = 0;
  peakBytes = 0;

  constructor(limitBytes: number) {
    this.#limit = limitBytes;
  }

  step(now: number, usedBytes: number): { over: boolean; nextMs: number } {
    this.#startedAt ??= now;
    this.peakBytes = Math.max(this.peakBytes, usedBytes);
    const grew = usedBytes - this.#level;
    if (Math.abs(grew) > NOISE_BYTES) {
      this.#level = usedBytes;
      this.#steadySince = now;
    }
    return { over: usedBytes > this.#limit, nextMs: this.#nextMs(now, usedBytes, grew) };
  }

  /** It was started so lately that nothing is known of it. */
  isFresh(now: number): boolean {
    return this.#startedAt !== undefined && now - this.#startedAt < FRESH_MS;
  }

  #nextMs(now: number, used: number, grew: number): number {
    if (used > this.#limit * 0.8 && now - this.#steadySince < STEADY_MS) return NEAR_MS;
    if (this.isFresh(now) || grew > NOISE_BYTES) return FAST_MS;
    return now - this.#steadySince < STEADY_MS && used > this.#limit / 2 ? FAST_MS : SLOW_MS;
  }
}
