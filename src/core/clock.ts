/**
 * Time, handed in. `mono` for time-outs and leases, `wall` for display and cron, `trusted` for retention, tokens and
 * certificates: a high-water mark that wall jumps do not move (DESIGN promise 7).
 */
export interface Clock {
  /** Milliseconds since an arbitrary start; never goes back, and stands still while the host is asleep. */
  mono(): number;
  /** Unix milliseconds as the host says it; may jump. */
  wall(): number;
  /** Unix milliseconds that never go back, moved by `mono` and raised by `trust`. */
  trusted(): number;
  /**
   * Raises the trusted time (from the store at start, from the hub later). Only what is known better than the wall clock
   * said at the start of the process, `exactly`, also lowers it; before anything has gone by it.
   */
  trust(unixMs: number, exactly?: boolean): void;
  /** Calls back after `ms`; the returned function cancels. */
  after(ms: number, callback: () => void): () => void;
  /** Resolves after `ms`, or rejects with the signal's reason. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

/** Time on the build machine when this executable was made, else the release date: trusted time is at least this. */
const BUILD_TIME_MS = Number(process.env.HOLDFAST_BUILD_TIME_MS ?? Date.UTC(2026, 10, 1));

class SystemClock implements Clock {
  #trustedBase: number;
  #trustedAt: number;

  constructor() {
    this.#trustedAt = performance.now();
    this.#trustedBase = Math.max(Date.now(), BUILD_TIME_MS);
  }

  mono(): number {
    return performance.now();
  }

  wall(): number {
    return Date.now();
  }

  trusted(): number {
    return Math.floor(this.#trustedBase + (performance.now() - this.#trustedAt));
  }

  trust(unixMs: number, exactly = false): void {
    if (!exactly && unixMs <= this.trusted()) return;
    this.#trustedAt = performance.now();
    this.#trustedBase = Math.max(unixMs, BUILD_TIME_MS);
  }

  after(ms: number, callback: () => void): () => void {
    const timer = setTimeout(callback, Math.min(ms, 0x7fffffff));
    return () => clearTimeout(timer);
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
}

export function systemClock(): Clock {
  return new SystemClock();
}
