import type { Incarnation } from "./incarnation.ts";

/**
 * The way between the agent and its store: at once, or after a while when the disk is slow, always in order. `look` is
 * called after everything that the store may have committed.
 */
export class SlowDisk {
  delayMs = 0;
  readonly #life: Incarnation;
  readonly #look: () => void;
  readonly #waiting: (() => void)[] = [];

  constructor(life: Incarnation, look: () => void) {
    this.#life = life;
    this.#look = look;
  }

  readonly schedule = (work: () => void): void => {
    this.#waiting.push(work);
    if (this.delayMs === 0) queueMicrotask(() => this.#next());
    else this.#life.after(this.delayMs, () => this.#next());
  };

  #next(): void {
    this.#waiting.shift()?.();
    this.#look();
  }
}
