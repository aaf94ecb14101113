import type { Clock } from "./clock.ts";

/** A wall clock that is set by more than this has jumped; by less, it was put right. */
export const JUMP_MS = 300_000;
/** What an uptime read beside a clock is not sure of. */
const UNSURE_MS = 1_000;

/** A clock as it stands, and the time on it since which it has gone on evenly. */
export interface ClockState {
  nowMs: number;
  reachedMs: number;
}

export interface Jump {
  /** Of the wall clock, against the time that this process saw pass. */
  byMs: number;
  /** How long the host was asleep meanwhile, which looks the same; 0 where it cannot say. */
  asleepMs: number;
}

/** Looks at the wall clock and at trusted time, and notices when one has jumped since it looked last. */
export class TimeWatch {
  /** Jumps of the wall clock so far. */
  jumps = 0;
  readonly #clock: Clock;
  readonly #uptimeMs: () => number | null;
  readonly #wall = new WatchedClock();
  readonly #trusted = new WatchedClock();
  readonly #listeners = new Set<(jump: Jump) => void>();
  #behindUptime: number | null = null;

  /** `uptimeMs` goes on while the host is asleep. */
  constructor(clock: Clock, uptimeMs: () => number | null = () => null) {
    this.#clock = clock;
    this.#uptimeMs = uptimeMs;
  }

  /** Calls back for each jump that is noticed, whoever looked; the returned function ends that. */
  onJump(listener: (jump: Jump) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /** Looks whether the wall clock has jumped since the last look. */
  look(): void {
    const mono = this.#clock.mono();
    this.#trusted.look(this.#clock.trusted(), mono);
    const byMs = this.#wall.look(this.#clock.wall(), mono);
    const asleepMs = this.#asleep(mono);
    if (byMs === 0) return;
    this.jumps++;
    for (const listener of this.#listeners) listener({ byMs: Math.round(byMs), asleepMs });
  }

  get wall(): ClockState {
    return { nowMs: this.#clock.wall(), reachedMs: this.#wall.reachedMs };
  }

  get trusted(): ClockState {
    return { nowMs: this.#clock.trusted(), reachedMs: this.#trusted.reachedMs };
  }

  #asleep(mono: number): number {
    const uptime = this.#uptimeMs();
    const before = this.#behindUptime;
    this.#behindUptime = uptime === null ? null : uptime - mono;
    if (before === null || this.#behindUptime === null) return 0;
    const asleep = this.#behindUptime - before;
    return asleep > UNSURE_MS ? Math.round(asleep) : 0;
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
