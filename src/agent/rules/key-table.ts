import type { KeyMemory } from "./key-state.ts";

/** A key is moved to the end of the line at most so often. */
const TOUCH_MS = 1000;

/** Keys of one rule, the one that was silent longest first, so that the first are let go when there are too many. */
export class KeyTable {
  readonly #keys = new Map<string, KeyMemory>();

  get size(): number {
    return this.#keys.size;
  }

  get(key: string): KeyMemory | undefined {
    return this.#keys.get(key);
  }

  /** The memory of a key that an event came for. */
  touch(key: string, nowMs: number): KeyMemory {
    let memory = this.#keys.get(key);
    if (memory === undefined) {
      memory = { touchedMs: nowMs, window: null, state: null };
      this.#keys.set(key, memory);
    } else if (nowMs - memory.touchedMs >= TOUCH_MS) {
      memory.touchedMs = nowMs;
      this.#keys.delete(key);
      this.#keys.set(key, memory);
    }
    return memory;
  }

  delete(key: string): void {
    this.#keys.delete(key);
  }

  /** Takes out the key that was silent longest; null when the table holds no more than `limit`. */
  takeOverflow(limit: number): [string, KeyMemory] | null {
    if (this.#keys.size <= limit) return null;
    const [first] = this.#keys;
    this.#keys.delete(first![0]);
    return first!;
  }

  clear(): void {
    this.#keys.clear();
  }

  entries(): Iterable<[string, KeyMemory]> {
    return this.#keys;
  }
}
