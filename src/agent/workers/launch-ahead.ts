import { closeSync } from "node:fs";
import type { Clock } from "../../core/clock.ts";
import { discardStage, type Stage } from "./launch-stage.ts";

/** Without a script for this long, none waits for the next. */
export const AHEAD_IDLE_MS = 60_000;

export interface LaunchAheadOptions {
  clock: Pick<Clock, "after">;
  /** Starts a stage 1 for a script, with a second channel. */
  start: (prefix: string[]) => Stage;
}

/**
 * Half of what the start of a script takes is the start of this program as stage 1. So where scripts run, one stage 1 is
 * started ahead and waits for the policy of the next script. It is confined by that policy like any other. It ends with the
 * agent, whose end of the channel it reads from, and after a while without scripts.
 */
export class LaunchAhead {
  readonly #options: LaunchAheadOptions;
  #waiting: { stage: Stage; prefix: string } | undefined;
  /** Of the next start, or of the end without scripts. */
  #cancelTimer = () => {};
  #closed = false;

  constructor(options: LaunchAheadOptions) {
    this.#options = options;
  }

  /** The one that waits, if it was started with this prefix. It is the caller's from then on. */
  take(prefix: string[], calls: boolean): Stage | undefined {
    if (this.#waiting?.prefix !== prefix.join("\0")) return undefined;
    const { stage } = this.#waiting;
    this.#waiting = undefined;
    this.#cancelTimer();
    stage.child.ref();
    if (calls || stage.callFd === null) return stage;
    closeSync(stage.callFd);
    return { ...stage, callFd: null };
  }

  /** After a script has ended: the next one may be like it. Starts nothing before the caller has gone on. */
  prepare(prefix: string[]): void {
    this.#cancelTimer();
    if (!this.#closed) this.#cancelTimer = this.#options.clock.after(0, () => this.#prepare(prefix));
  }

  #prepare(prefix: string[]): void {
    const key = prefix.join("\0");
    if (this.#waiting?.prefix !== key) {
      this.#drop();
      this.#waiting = this.#start(prefix, key);
    }
    this.#cancelTimer = this.#options.clock.after(AHEAD_IDLE_MS, () => this.#drop());
  }

  /** The process that waits, for whoever counts processes. */
  pid(): number | undefined {
    return this.#waiting?.stage.child.pid;
  }

  close(): void {
    this.#closed = true;
    this.#cancelTimer();
    this.#drop();
  }

  #start(prefix: string[], key: string) {
    try {
      const stage = this.#options.start(prefix);
      stage.child.unref();
      void stage.child.exited.then(() => {
        if (this.#waiting?.stage === stage) this.#drop();
      });
      return { stage, prefix: key };
    } catch {
      // The next script tries by itself, and says why if it fails too.
      return undefined;
    }
  }

  #drop(): void {
    if (this.#waiting) discardStage(this.#waiting.stage);
    this.#waiting = undefined;
  }
}
