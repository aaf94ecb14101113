/** A tick while the share may be overdrawn. */
const FAST_MS = 20;
const SLOW_MS = 250;
/** For what a slow look let through, a worker is stopped no longer than this; the rest is forgiven. */
const LONGEST_SURPRISE_MS = 1_000;
/** Longest stop for what was used between two ticks: many threads use much in little time. */
const LONGEST_STOP_MS = 10_000;
/** What was not used is kept for this long. */
const BURST_MS = 100;
/** Processor time at the start that is not counted: loading the engine and the plugin. */
const START_CREDIT_MS = 300;

export interface GovernorStep {
  /** To be sent now; while stopped it is sent again at each step, for processes that were started meanwhile. */
  signal: "SIGSTOP" | "SIGCONT" | null;
  nextMs: number;
}

/**
 * Holds processor time to a share by stopping and continuing. Time comes in at `share` a millisecond and goes out as it is
 * used; below zero the worker is stopped until the debt is paid. As the debt is exact, the mean is, however coarse the tick.
 */
export class CpuGovernor {
  readonly #share: number;
  #budgetMs = START_CREDIT_MS;
  #last: { at: number; cpuMs: number } | undefined;
  #stoppedAt: number | undefined;
  #throttledMs = 0;
  #forgivenMs = 0;

  /** `share` in cores. */
  constructor(share: number) {
    this.#share = share;
  }

  get stopped(): boolean {
    return this.#stoppedAt !== undefined;
  }

  /** For how long it was stopped in all. */
  throttledMs(now: number): number {
    return this.#throttledMs + (this.#stoppedAt === undefined ? 0 : now - this.#stoppedAt);
  }

  /** Processor time over the share that is never made up for: what late looks let through. */
  get forgivenMs(): number {
    return this.#forgivenMs;
  }

  step(now: number, cpuMs: number): GovernorStep {
    const last = this.#last ?? { at: now, cpuMs: 0 };
    this.#last = { at: now, cpuMs };
    const elapsed = now - last.at;
    const used = Math.max(0, cpuMs - last.cpuMs);
    this.#settle(elapsed, used);
    if (this.#budgetMs < 0) return this.#stop(now);
    if (this.#stoppedAt !== undefined) return this.#continue(now);
    const busy = used > 0.5 * this.#share * elapsed && used > 0;
    return { signal: null, nextMs: busy || this.#budgetMs < (this.#burst() * 3) / 4 ? FAST_MS : SLOW_MS };
  }

  #settle(elapsed: number, used: number): void {
    const most = Math.max(this.#burst(), this.#budgetMs);
    const surprise = !this.stopped && elapsed > 5 * FAST_MS;
    const least = -this.#share * (surprise ? LONGEST_SURPRISE_MS : LONGEST_STOP_MS);
    const debt = Math.min(most, this.#budgetMs + elapsed * this.#share) - used;
    this.#forgivenMs += Math.max(0, least - debt);
    this.#budgetMs = Math.max(least, debt);
  }

  #burst(): number {
    return this.#share * BURST_MS;
  }

  #stop(now: number): GovernorStep {
    this.#stoppedAt ??= now;
    const untilPaid = Math.ceil(-this.#budgetMs / this.#share);
    return { signal: "SIGSTOP", nextMs: Math.max(1, Math.min(5 * FAST_MS, untilPaid)) };
  }

  #continue(now: number): GovernorStep {
    this.#throttledMs = this.throttledMs(now);
    this.#stoppedAt = undefined;
    return { signal: "SIGCONT", nextMs: FAST_MS };
  }
}
