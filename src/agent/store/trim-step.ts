/** The time as the main side knows it. */
export interface TrimCommand {
  trustedMs: number;
  monoMs: number;
  /** The first step of a trimming: each part begins with its oldest row. */
  begins: boolean;
}

export interface TrimResult {
  /** There is more to be done. */
  more: boolean;
  /** Rows and pages beyond what may be. */
  excess: number;
}

/** What a part of history is told of the moment. */
export interface TrimNow extends TrimCommand {
  /** The file is larger than it may be. */
  tooLarge: boolean;
}

export interface Trimmed {
  /** Rows (or pages) that the time went into. */
  touched: number;
  more: boolean;
}

/** What one step of trimming may take of the storage thread: a commit that waits behind it does not notice. */
export const STEP_MS = 1;
const LEAST = 16;

/** How many rows (or pages) fit into a step: learned from how long the last ones took. */
export class TrimStep {
  readonly #most: number;
  #rows: number;

  constructor(most: number) {
    this.#most = most;
    this.#rows = Math.min(most, 16 * LEAST);
  }

  get rows(): number {
    return this.#rows;
  }

  /** Halves at most, and grows by half at most: one step proves little, the thread may have had to wait for a processor. */
  took(ms: number): void {
    const fits = (this.#rows * STEP_MS) / Math.max(ms, 0.01);
    const next = Math.max(this.#rows / 2, Math.min(fits, this.#rows * 1.5));
    this.#rows = Math.round(Math.min(this.#most, Math.max(LEAST, next)));
  }
}
