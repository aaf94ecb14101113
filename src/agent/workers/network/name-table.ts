/** Names in use at once; a worker that asks for more loses the oldest. */
const MAX_NAMES = 4096;
/** 198.18.0.0/15 is for benchmarks (RFC 2544): no host of any network that a worker could mean. */
const FIRST = (198 << 24) | (18 << 16);
const ADDRESSES = 1 << 17;

/** The addresses that one worker's resolver gets for names, and the way back. */
export class NameTable {
  readonly #addresses = new Map<string, string>();
  readonly #names = new Map<string, string>();
  readonly #max: number;
  /** The first one looks like a network's own address. */
  #next = 1;

  constructor(max = MAX_NAMES) {
    this.#max = max;
  }

  /** The same for the same name for as long as it is known. */
  addressOf(name: string): string {
    const known = this.#addresses.get(name);
    if (known !== undefined) {
      // Moves it to the end: the first is the one that was not asked for longest.
      this.#addresses.delete(name);
      this.#addresses.set(name, known);
      return known;
    }
    if (this.#addresses.size >= this.#max) this.#forgetOldest();
    const address = this.#fresh();
    this.#addresses.set(name, address);
    this.#names.set(address, name);
    return address;
  }

  nameOf(address: string): string | undefined {
    return this.#names.get(address);
  }

  /** An address comes again only after all others, so that an old answer seldom means a new name. */
  #fresh(): string {
    for (;;) {
      const number = FIRST + this.#next;
      this.#next = (this.#next % (ADDRESSES - 2)) + 1;
      const address = [24, 16, 8, 0].map((shift) => (number >> shift) & 255).join(".");
      if (!this.#names.has(address)) return address;
    }
  }

  #forgetOldest(): void {
    const [oldest] = this.#addresses;
    if (!oldest) return;
    this.#addresses.delete(oldest[0]);
    this.#names.delete(oldest[1]);
  }
}
