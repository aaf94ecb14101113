import type { Clock } from "../../core/clock.ts";
import { Heap } from "../../core/heap.ts";

interface Entry {
  atMs: number;
  seq: number;
  /** Undefined once it was cancelled. */
  fire: (() => void) | undefined;
}

/** The far end of a timer: trusted time may be corrected meanwhile, so that it is looked at again. */
const LONGEST_MS = 60_000;

/**
 * Moments of trusted time at which something is due, with one timer for the earliest. Deadlines, approvals and retries
 * of ten thousand runs cost one timer.
 */
export class Deadlines {
  readonly #clock: Clock;
  readonly #heap = new Heap<Entry>((a, b) => a.atMs - b.atMs || a.seq - b.seq);
  #seq = 0;
  #cancelled = 0;
  #timer: { atMs: number; cancel: () => void } | null = null;
  #stopped = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Calls `fire` once it is `atMs` (trusted); the returned function cancels. */
  at(atMs: number, fire: () => void): () => void {
    const entry: Entry = { atMs, seq: this.#seq++, fire };
    this.#heap.push(entry);
    this.#arm();
    return () => this.#cancel(entry);
  }

  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
    this.#heap.clear();
  }

  #cancel(entry: Entry): void {
    if (entry.fire === undefined) return;
    entry.fire = undefined;
    if (++this.#cancelled < 64 || this.#cancelled * 2 < this.#heap.size) return;
    this.#heap.retain((each) => each.fire !== undefined);
    this.#cancelled = 0;
  }

  #arm(): void {
    const first = this.#heap.peek();
    if (this.#stopped || first === undefined) return;
    if (this.#timer !== null) {
      if (this.#timer.atMs <= first.atMs) return;
      this.#timer.cancel();
    }
    const wait = Math.min(Math.max(0, first.atMs - this.#clock.trusted()), LONGEST_MS);
    this.#timer = { atMs: first.atMs, cancel: this.#clock.after(wait, () => this.#due()) };
  }

  #due(): void {
    this.#timer = null;
    const now = this.#clock.trusted();
    while (!this.#stopped && this.#heap.size > 0 && this.#heap.peek()!.atMs <= now) {
      const entry = this.#heap.pop()!;
      const { fire } = entry;
      entry.fire = undefined;
      if (fire === undefined) this.#cancelled = Math.max(0, this.#cancelled - 1);
      else fire();
    }
    this.#arm();
  }
}
