/** Something happened that must never happen. */
export class Violation extends Error {
  constructor(
    readonly invariant: string,
    readonly what: string,
  ) {
    super(`${invariant}: ${what}`);
  }
}

const MAX_LINES = 2000;

/**
 * What happened in one simulation, for people, and its hash over everything that was observed: the same seed gives the
 * same hash. The first violation is kept; the rest may follow from it.
 */
export class Story {
  readonly lines: string[] = [];
  violation: Violation | null = null;
  readonly #hasher = new Bun.CryptoHasher("sha256");
  readonly #now: () => number;
  readonly #broken = Promise.withResolvers<void>();

  constructor(now: () => number) {
    this.#now = now;
  }

  /** Resolves when an invariant is broken. */
  get broken(): Promise<void> {
    return this.#broken.promise;
  }

  /** An act or a fault: one line of the story. */
  say(line: string): void {
    const timed = `${(this.#now() / 1000).toFixed(3).padStart(10)} s  ${line}`;
    this.#hasher.update(timed);
    this.lines.push(timed);
    if (this.lines.length > MAX_LINES) this.lines.splice(0, this.lines.length - MAX_LINES);
  }

  /** What was observed: it counts in the hash only. */
  note(line: string): void {
    this.#hasher.update(`${this.#now()} ${line}\n`);
  }

  fail(invariant: string, what: string): void {
    if (this.violation) return;
    this.violation = new Violation(invariant, what);
    this.say(`VIOLATION of ${invariant}: ${what}`);
    this.#broken.resolve();
  }

  hash(): string {
    return this.#hasher.copy().digest("hex");
  }
}
