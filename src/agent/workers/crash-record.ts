import { type BackoffPolicy, backoffDelay } from "../../core/backoff.ts";

/** So many crashes within the window put a plugin in quarantine. */
const MAX_CRASHES = 5;
const WINDOW_MS = 60_000;

export type AfterCrash = { kind: "again"; delayMs: number } | { kind: "quarantine"; reason: string };

/** Counts a part's crashes and says what follows. Times are `mono` milliseconds. */
export class CrashRecord {
  readonly #backoff: BackoffPolicy;
  #times: number[] = [];
  #failures = 0;
  #last = Number.NEGATIVE_INFINITY;

  constructor(backoff: BackoffPolicy) {
    this.#backoff = backoff;
  }

  /** `counts: false` is for ends that are not the plugin's fault: they only make the next start wait. */
  add(nowMs: number, reason: string, counts: boolean, random: () => number): AfterCrash {
    this.#failures = nowMs - this.#last > WINDOW_MS ? 1 : this.#failures + 1;
    this.#last = nowMs;
    if (counts) this.#times = [...this.#times.filter((time) => nowMs - time < WINDOW_MS), nowMs];
    if (this.#times.length >= MAX_CRASHES) {
      const text = `${this.#times.length} crashes within ${WINDOW_MS / 1000} s; the last: ${reason}`;
      return { kind: "quarantine", reason: text };
    }
    return { kind: "again", delayMs: backoffDelay(this.#backoff, this.#failures, random) };
  }

  clear(): void {
    this.#times = [];
    this.#failures = 0;
  }
}
