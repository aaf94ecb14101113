import type { Clock } from "../../core/clock.ts";
import type { VirtualClock } from "../virtual-clock.ts";

/** One life of the agent's process. When it is over nothing that it had set off happens any more. */
export class Incarnation implements Clock {
  dead = false;
  readonly #clock: VirtualClock;

  constructor(
    clock: VirtualClock,
    readonly number: number,
  ) {
    this.#clock = clock;
  }

  mono(): number {
    return this.#clock.mono();
  }

  wall(): number {
    return this.#clock.wall();
  }

  trusted(): number {
    return this.#clock.trusted();
  }

  trust(unixMs: number, exactly?: boolean): void {
    this.#clock.trust(unixMs, exactly);
  }

  after(ms: number, callback: () => void): () => void {
    return this.#clock.after(ms, () => {
      if (!this.dead) callback();
    });
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#clock.sleep(ms, signal).then(
        () => (this.dead ? undefined : resolve()),
        (error: unknown) => (this.dead ? undefined : reject(error)),
      );
    });
  }
}
