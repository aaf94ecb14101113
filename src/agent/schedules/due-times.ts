import type { Clock } from "../../core/clock.ts";
import { Heap } from "../../core/heap.ts";

/** How often the wall clock is looked at while something goes by it: a jump is noticed within this. */
const WATCH_MS = 1000;
/** The same for trusted time, which only the hub moves. */
const TRUSTED_WATCH_MS = 60_000;

interface Due<T> {
  item: T;
  atMs: number;
}

/** What is due by the wall clock and by trusted time, with one timer for all of it. */
export class DueTimes<T> {
  readonly #clock: Clock;
  readonly #wake: () => void;
  readonly #byWall = new Heap<Due<T>>((a, b) => a.atMs - b.atMs);
  readonly #byTrusted = new Heap<Due<T>>((a, b) => a.atMs - b.atMs);
  #cancelTimer = () => {};
  #stopped = false;

  /** `wake` is called when something may be due; `arm` has it called again. */
  constructor(clock: Clock, wake: () => void) {
    this.#clock = clock;
    this.#wake = wake;
  }

  push(item: T, atMs: number, byWall: boolean): void {
    (byWall ? this.#byWall : this.#byTrusted).push({ item, atMs });
  }

  clearWall(): void {
    this.#byWall.clear();
  }

  /** Takes out one that is due, or null. */
  take(): Due<T> | null {
    if ((this.#byTrusted.peek()?.atMs ?? Infinity) <= this.#clock.trusted()) return this.#byTrusted.pop()!;
    if ((this.#byWall.peek()?.atMs ?? Infinity) <= this.#clock.wall()) return this.#byWall.pop()!;
    return null;
  }

  arm(): void {
    this.#cancelTimer();
    if (this.#stopped) return;
    const [byWall, byTrusted] = [this.#byWall.peek(), this.#byTrusted.peek()];
    const waits = [
      byWall === undefined ? Infinity : Math.min(byWall.atMs - this.#clock.wall(), WATCH_MS),
      byTrusted === undefined ? Infinity : Math.min(byTrusted.atMs - this.#clock.trusted(), TRUSTED_WATCH_MS),
    ];
    const wait = Math.min(...waits);
    if (wait < Infinity) this.#cancelTimer = this.#clock.after(Math.max(1, Math.ceil(wait)), this.#wake);
  }

  stop(): void {
    this.#stopped = true;
    this.#cancelTimer();
  }
}

/** Resolves when there is room, or when the signal aborts. */
export async function roomOrStop(room: () => Promise<void>, signal: AbortSignal): Promise<void> {
  const stop = Promise.withResolvers<void>();
  const onStop = () => stop.resolve();
  signal.addEventListener("abort", onStop, { once: true });
  if (signal.aborted) stop.resolve();
  await Promise.race([room(), stop.promise]);
  signal.removeEventListener("abort", onStop);
}
