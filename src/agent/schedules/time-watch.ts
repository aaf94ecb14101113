import type { Clock } from "../../core/clock.ts";
import { JUMP_MS } from "../../model/schedule.ts";

/** A clock as it stands, and the time on it since which it has gone on evenly. */
export interface ClockState {
  nowMs: number;
  reachedMs: number;
}

/** Looks at the wall clock and at trusted time, and notices when one has jumped since it looked last. */
export class TimeWatch {
  readonly #clock: Clock;
  readonly #wall = new WatchedClock();
  readonly #trusted = new WatchedClock();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** How far the wall clock has jumped since the last look; 0 when it has not. */
  look(): { jumpedMs: number } {
    const mono = this.#clock.mono();
    this.#trusted.look(this.#clock.trusted(), mono);
    return { jumpedMs: this.#wall.look(this.#clock.wall(), mono) };
  }

  get wall(): ClockState {
    return { nowMs: this.#clock.wall(), reachedMs: this.#wall.reachedMs };
  }

  get trusted(): ClockState {
    return { nowMs: this.#clock.trusted(), reachedMs: this.#trusted.reachedMs };
  }
}

class WatchedClock {
  reachedMs = -Infinity;
  #last: { nowMs: number; mono: number } | null = null;

  look(nowMs: number, mono: number): number {
    const last = this.#last;
    this.#last = { nowMs, mono };
    if (last === null) return 0;
    const elapsed = mono - last.mono;
    const jumped = nowMs - (last.nowMs + elapsed);
    if (Math.abs(jumped) <= JUMP_MS) return 0;
    this.reachedMs = nowMs - elapsed;
    return jumped;
  }
}
