import type { Clock } from "../core/clock.ts";
import { Heap } from "../core/heap.ts";

interface Timer {
  atMs: number;
  seq: number;
  callback: (() => void) | undefined;
}

/**
 * A clock that stands still until it is told to move. Timers fire in the order of their time, then of their making.
 * Wall time may be made to jump; `mono` and `trusted` do not notice.
 */
export class VirtualClock implements Clock {
  #mono = 0;
  #wallOffset: number;
  #trustedOffset: number;
  #seq = 0;
  readonly #timers = new Heap<Timer>((a, b) => a.atMs - b.atMs || a.seq - b.seq);

  constructor(wallMs: number = Date.UTC(2026, 11, 1)) {
    this.#wallOffset = wallMs;
    this.#trustedOffset = wallMs;
  }

  mono(): number {
    return this.#mono;
  }

  wall(): number {
    return this.#mono + this.#wallOffset;
  }

  trusted(): number {
    return Math.floor(this.#mono + this.#trustedOffset);
  }

  trust(unixMs: number, exactly = false): void {
    if (exactly || unixMs > this.trusted()) this.#trustedOffset = unixMs - this.#mono;
  }

  /** Sets the wall time forward or back, as a person or NTP does. */
  jumpWall(ms: number): void {
    this.#wallOffset += ms;
  }

  after(ms: number, callback: () => void): () => void {
    const timer: Timer = { atMs: this.#mono + Math.max(0, ms), seq: this.#seq++, callback };
    this.#timers.push(timer);
    return () => (timer.callback = undefined);
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason);
      const cancel = this.after(ms, () => {
        signal?.removeEventListener("abort", onAbort);
        resolve();
      });
      const onAbort = () => {
        cancel();
        reject(signal?.reason);
      };
      signal?.addEventListener("abort", onAbort, { once: true });
    });
  }

  /** Milliseconds until the next timer, or null when there is none. */
  nextIn(): number | null {
    this.#dropCancelled();
    const next = this.#timers.peek();
    return next ? Math.max(0, next.atMs - this.#mono) : null;
  }

  /** Moves to the next timer and fires it; false when there is none. */
  runNext(): boolean {
    this.#dropCancelled();
    const timer = this.#timers.pop();
    if (!timer) return false;
    this.#mono = Math.max(this.#mono, timer.atMs);
    const { callback } = timer;
    timer.callback = undefined;
    callback?.();
    return true;
  }

  /**
   * Moves on by `ms`, firing what comes due on the way. `settle` is awaited after each timer, so that what one sets off
   * has happened before the next one fires.
   */
  async advance(ms: number, settle: () => Promise<void> = settled): Promise<void> {
    const end = this.#mono + ms;
    await settle();
    for (let next = this.nextIn(); next !== null && this.#mono + next <= end; next = this.nextIn()) {
      this.runNext();
      await settle();
    }
    this.#mono = end;
  }

  #dropCancelled(): void {
    while (this.#timers.size > 0 && this.#timers.peek()!.callback === undefined) this.#timers.pop();
  }
}

/** Resolves when every promise that is already settled has been followed as far as it goes. */
export async function settled(): Promise<void> {
  for (let round = 0; round < 3; round++) await new Promise<void>((resolve) => setImmediate(resolve));
}
