/** A small value that is overwritten, by what its writers were told: after a crash it is one of those that may be durable. */
export class KeptValue {
  #possible = new Set<string | null>([null]);
  #busyIn = -1;

  /** Somebody is about to write it in this life; null removes it. False while another one does. */
  begin(life: number, value: string | null): boolean {
    if (this.#busyIn === life) return false;
    this.#busyIn = life;
    this.#possible.add(value);
    return true;
  }

  /** The write was answered. */
  done(value: string | null): void {
    this.#busyIn = -1;
    this.#possible = new Set([value]);
  }

  /** The write was refused: it may have come halfway. */
  failed(): void {
    this.#busyIn = -1;
  }

  /** What a new life has found; what is wrong about it, or null. */
  found(value: string | null): string | null {
    if (!this.#possible.has(value)) return `is ${value}, which is none of ${[...this.#possible].join(", ")}`;
    this.#possible = new Set([value]);
    return null;
  }
}

/** A number that many add one to, each through a checkout of its own. */
export class CountedKey {
  readonly #confirmed = new Set<number>();
  #sent = 0;
  #refused = 0;

  sent(): void {
    this.#sent++;
  }

  /** The turn had passed: nothing may have been written. */
  expired(): void {
    this.#refused++;
  }

  /** False when somebody else was told the same: one of both is lost. */
  confirmed(value: number): boolean {
    if (this.#confirmed.has(value)) return false;
    this.#confirmed.add(value);
    return true;
  }

  /** What is wrong about this value, or null. */
  problem(value: number): string | null {
    const most = this.#sent - this.#refused;
    if (value >= this.#confirmed.size && value >= Math.max(0, ...this.#confirmed) && value <= most)
      return null;
    return `is ${value} after ${this.#confirmed.size} additions that were answered and ${most} that may be there`;
  }
}
