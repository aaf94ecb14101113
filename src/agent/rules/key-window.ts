export type WindowValue = number | string;

/** Entries before the head that are cut off together. */
const CUT = 64;
/** Up to here a look through the values is cheaper than a table of them. */
const FEW = 16;

/**
 * The events of one key within a sliding time, exactly: every entry is kept, in the order of time. Two plain arrays of
 * numbers and a few sums a key, because there may be 100,000 keys. The window ends at the newest event and reaches back
 * `overMs`, its beginning excluded.
 */
export class KeyWindow {
  times: number[] = [];
  /** In the order of `times`; null while no entry has a value. */
  values: WindowValue[] | null = null;
  head = 0;
  /** Sum of the whole numbers; exact while it is a safe integer, and `broken` until it is computed anew when it was not. */
  sum = 0;
  broken = false;
  /** Numbers that are not whole: sums of them are computed from scratch, because taking away again does not give the old sum. */
  fractions = 0;
  /** Least and greatest value; null when it must be looked for. */
  low: number | null = null;
  high: number | null = null;
  counts: Map<WindowValue, number> | null = null;

  get count(): number {
    return this.times.length - this.head;
  }

  get newest(): number {
    return this.times.length === 0 ? -Infinity : this.times[this.times.length - 1]!;
  }

  /** The oldest entry's time, or Infinity when there is none. */
  get oldest(): number {
    return this.count === 0 ? Infinity : this.times[this.head]!;
  }

  isLate(atMs: number, overMs: number): boolean {
    return this.newest - atMs >= overMs;
  }

  /** Puts an entry at its place and lets go of what has left the window. The caller has asked `isLate`. */
  add(atMs: number, value: WindowValue | null, overMs: number): void {
    this.#insert(atMs, value);
    const edge = this.newest - overMs;
    while (this.times[this.head]! <= edge) this.dropOldest();
  }

  dropOldest(): void {
    const at = this.head++;
    if (this.values !== null) this.#forget(this.values[at]!);
    if (this.head < CUT || this.head * 2 < this.times.length) return;
    this.times.splice(0, this.head);
    this.values?.splice(0, this.head);
    this.head = 0;
  }

  #insert(atMs: number, value: WindowValue | null): void {
    const { times } = this;
    let at = times.length;
    while (at > this.head && times[at - 1]! > atMs) at--;
    if (at === times.length) times.push(atMs);
    else times.splice(at, 0, atMs);
    if (value === null) return;
    this.values ??= [];
    if (at === this.values.length) this.values.push(value);
    else this.values.splice(at, 0, value);
    this.#remember(value);
  }

  #remember(value: WindowValue): void {
    if (this.counts) this.counts.set(value, (this.counts.get(value) ?? 0) + 1);
    if (typeof value !== "number") return;
    if (this.count === 1) this.low = this.high = value;
    if (this.low !== null && value < this.low) this.low = value;
    if (this.high !== null && value > this.high) this.high = value;
    if (Number.isSafeInteger(value)) this.#addToSum(value);
    else this.fractions++;
  }

  #forget(value: WindowValue): void {
    if (this.counts) {
      const left = this.counts.get(value)! - 1;
      if (left > 0) this.counts.set(value, left);
      else this.counts.delete(value);
    }
    if (typeof value !== "number") return;
    if (Number.isSafeInteger(value)) this.#addToSum(-value);
    else this.fractions--;
    if (value === this.low) this.low = null;
    if (value === this.high) this.high = null;
  }

  #addToSum(value: number): void {
    this.sum += value;
    if (!Number.isSafeInteger(this.sum)) this.broken = true;
  }

  total(): number {
    const values = this.values ?? [];
    if (this.fractions === 0 && !this.broken) return this.sum;
    let sum = 0;
    for (let i = this.head; i < values.length; i++) sum += values[i] as number;
    if (this.fractions === 0 && Number.isSafeInteger(sum)) {
      this.sum = sum;
      this.broken = false;
    }
    return sum;
  }

  least(): number {
    if (this.low === null) {
      const values = this.values as number[];
      this.low = values[this.head]!;
      for (let i = this.head + 1; i < values.length; i++) this.low = Math.min(this.low, values[i]!);
    }
    return this.low;
  }

  greatest(): number {
    if (this.high === null) {
      const values = this.values as number[];
      this.high = values[this.head]!;
      for (let i = this.head + 1; i < values.length; i++) this.high = Math.max(this.high, values[i]!);
    }
    return this.high;
  }

  distinct(): number {
    const values = this.values ?? [];
    if (this.counts) return this.counts.size;
    if (this.count > FEW) {
      this.counts = new Map();
      for (let i = this.head; i < values.length; i++)
        this.counts.set(values[i]!, (this.counts.get(values[i]!) ?? 0) + 1);
      return this.counts.size;
    }
    let distinct = 0;
    for (let i = this.head; i < values.length; i++)
      if (values.indexOf(values[i]!, this.head) === i) distinct++;
    return distinct;
  }
}
