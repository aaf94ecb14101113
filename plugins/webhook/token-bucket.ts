/** So many at once, and then so many a second. */
export class TokenBucket {
  readonly #perSecond: number;
  readonly #burst: number;
  readonly #mono: () => number;
  #tokens: number;
  #at: number;

  constructor(options: { perSecond: number; burst: number; mono: () => number }) {
    this.#perSecond = options.perSecond;
    this.#burst = options.burst;
    this.#mono = options.mono;
    this.#tokens = options.burst;
    this.#at = options.mono();
  }

  /** Null when there was one, else the whole seconds until there is. */
  take(): number | null {
    const now = this.#mono();
    this.#tokens = Math.min(this.#burst, this.#tokens + ((now - this.#at) / 1000) * this.#perSecond);
    this.#at = now;
    if (this.#tokens < 1) return Math.max(1, Math.ceil((1 - this.#tokens) / this.#perSecond));
    this.#tokens--;
    return null;
  }
}
