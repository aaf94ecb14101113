import type { TrimResult } from "./trim-step.ts";

export interface TrimmingPorts {
  /** `begins`: it is the first one of this trimming. */
  step(begins: boolean): Promise<TrimResult>;
  /** Moves what the step wrote from the log into the file. */
  moveLog(): Promise<unknown>;
  mono(): number;
  /** Without it no pauses are made. */
  after?: (ms: number, callback: () => void) => () => void;
}

/** Pauses are so many times as long as the steps between them, so that of a hundred commits two meet one. */
const CALM = 50;
/** When the store grows in spite of it. */
const HURRY = 0.25;
const LONGEST_MS = 1000;
/** Steps after which it looks at whether the store grows: a single one says nothing, and the first ones are small. */
const LOOK_EVERY = 16;

/**
 * Has the store trimmed, step by step, with pauses in which commits go on as if nothing were. The log is moved after each
 * step: the many pages that a step writes would else be moved by one commit, which takes as long as all of them.
 */
export class Trimming {
  readonly #ports: TrimmingPorts;
  #running: Promise<void> | undefined;
  #stopped = false;
  #wake = () => {};
  #calm = CALM;
  #excess = 0;
  #steps = 0;

  constructor(ports: TrimmingPorts) {
    this.#ports = ports;
  }

  /** Until there is nothing to do. One at a time: who asks meanwhile waits for the one under way. */
  run(): Promise<void> {
    this.#running ??= this.#toTheEnd().finally(() => (this.#running = undefined));
    return this.#running;
  }

  async #toTheEnd(): Promise<void> {
    this.#excess = Number.POSITIVE_INFINITY;
    try {
      for (let begins = true; !this.#stopped && (await this.#step(begins)); begins = false);
    } catch {
      // It is tried again with the next trimming; what stopped it is reported through onHealth.
    }
  }

  stop(): void {
    this.#stopped = true;
    this.#wake();
  }

  async #step(begins: boolean): Promise<boolean> {
    const { step, moveLog, mono } = this.#ports;
    const began = mono();
    const { more, excess } = await step(begins);
    if (!more) return false;
    await moveLog();
    this.#look(excess);
    await this.#pause((mono() - began) * this.#calm);
    return true;
  }

  #look(excess: number): void {
    if (++this.#steps % LOOK_EVERY !== 0) return;
    this.#calm = calmness(this.#calm, excess - this.#excess);
    this.#excess = excess;
  }

  async #pause(ms: number): Promise<void> {
    const { after } = this.#ports;
    if (!after || this.#stopped) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#wake = resolve;
    const cancel = after(Math.min(Math.max(ms, 0), LONGEST_MS), resolve);
    await promise;
    cancel();
  }
}

/** Halves when the store is further beyond its bounds than at the last look, and comes back when it is not. */
export function calmness(now: number, grown: number): number {
  return grown > 0 ? Math.max(HURRY, now / 2) : Math.min(CALM, now * 1.5);
}
