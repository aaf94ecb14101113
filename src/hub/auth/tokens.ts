import type { Clock } from "../../core/clock.ts";
import { HoldfastError } from "../../core/errors.ts";

/** Who a bearer token stands for. */
export interface Caller {
  name: string;
  role: string;
}

export interface TokenVerifierOptions {
  /** Looks a token up by the hex SHA-256 of its text. */
  apiToken: (hash: string) => Promise<Caller | null>;
  clock: Pick<Clock, "mono">;
  /** Wrong tokens that are looked up at once before the rate limit bites. */
  burst?: number;
  /** Wrong tokens a second that are looked up after that. */
  perSecond?: number;
}

/** Hashes that passed before; bounded, oldest out first. */
const KNOWN_LIMIT = 1000;
const TOKEN_SHAPE = /^[\x21-\x7e]{8,512}$/;

/**
 * Verifies API tokens. Only SHA-256 hashes are stored and compared: the time that a lookup takes tells about the hash of
 * what was sent, which a caller cannot steer towards a stored one, and every token of the right shape, good or bad, goes
 * the same way. Wrong tokens share one bucket per process; when it is empty, tokens that never passed here are refused
 * unseen, and those that passed before still get through, so that guessing does not lock working operators out.
 */
export function createTokenVerifier(
  options: TokenVerifierOptions,
): (token: string) => Promise<Caller | null> {
  const burst = options.burst ?? 20;
  const perSecond = options.perSecond ?? 2;
  const known = new Set<string>();
  let failuresLeft = burst;
  let refilledMs = options.clock.mono();

  const refill = () => {
    const now = options.clock.mono();
    failuresLeft = Math.min(burst, failuresLeft + ((now - refilledMs) / 1000) * perSecond);
    refilledMs = now;
  };
  const remember = (hash: string) => {
    known.delete(hash);
    known.add(hash);
    if (known.size > KNOWN_LIMIT) known.delete(known.values().next().value as string);
  };

  return async (token) => {
    const hash = new Bun.CryptoHasher("sha256").update(token.slice(0, 1024)).digest("hex");
    refill();
    if (failuresLeft < 1 && !known.has(hash)) throw tooManyFailures(perSecond);
    // Paid before the lookup and given back on success, so that concurrent guesses cannot share one place.
    failuresLeft -= 1;
    const caller = TOKEN_SHAPE.test(token) ? await options.apiToken(hash) : null;
    if (caller) {
      failuresLeft += 1;
      remember(hash);
      return caller;
    }
    known.delete(hash);
    failuresLeft = Math.max(0, failuresLeft);
    return null;
  };
}

function tooManyFailures(perSecond: number): HoldfastError {
  return new HoldfastError(
    "exhausted",
    "Too many requests with a wrong API token reached this hub: wait some seconds, then try again with the right one",
    { retryable: true, details: { retryAfterSeconds: Math.max(1, Math.ceil(2 / perSecond)) } },
  );
}
