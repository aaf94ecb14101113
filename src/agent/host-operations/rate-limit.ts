import type { Clock } from "../../core/clock.ts";

const MAX_KEYS = 1000;

/** A bucket of tokens for each key (RFC 2697 with one rate): `burst` at once, `perSecond` in the long run. */
export class RateLimit {
  readonly #clock: Clock;
  readonly #burst: number;
  readonly #perSecond: number;
  readonly #buckets = new Map<string, { tokens: number; at: number }>();

  constructor(clock: Clock, burst = 20, perSecond = 2) {
    this.#clock = clock;
    this.#burst = burst;
    this.#perSecond = perSecond;
  }

  /** True when there was a token for it. */
  take(key: string): boolean {
    const now = this.#clock.mono();
    const known = this.#buckets.get(key);
    const gained = known === undefined ? this.#burst : ((now - known.at) / 1000) * this.#perSecond;
    const tokens = Math.min(this.#burst, (known?.tokens ?? 0) + gained);
    // The one used longest ago is the fullest: forgetting it gives nothing away that it would not have got anyhow.
    this.#buckets.delete(key);
    if (this.#buckets.size >= MAX_KEYS) this.#buckets.delete(this.#buckets.keys().next().value!);
    this.#buckets.set(key, { tokens: tokens >= 1 ? tokens - 1 : tokens, at: now });
    return tokens >= 1;
  }
}
