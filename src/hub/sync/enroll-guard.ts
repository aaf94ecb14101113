import type { Clock } from "../../core/clock.ts";
import { HoldfastError } from "../../core/errors.ts";
import type { EnrollRequest } from "../../protocol/gen/holdfast/v1/sync.ts";

const MAX_CSR_BYTES = 16 * 1024;
const MAX_TOKEN_LENGTH = 256;
const MAX_ID_LENGTH = 64;
const MAX_LABELS = 64;

/** What anybody may send before having proved anything is kept small. Throws `too_large`. */
export function checkEnrollSize(request: EnrollRequest): void {
  const labels = Object.entries(request.labels);
  const tooLarge =
    request.csr.length > MAX_CSR_BYTES
      ? `the CSR has ${request.csr.length} bytes, at most ${MAX_CSR_BYTES} are allowed`
      : request.token.length > MAX_TOKEN_LENGTH || request.agentId.length > MAX_ID_LENGTH
        ? "the token or the agent's id is too long"
        : labels.length > MAX_LABELS ||
            labels.some(([name, value]) => name.length > 128 || value.length > 1024)
          ? `more than ${MAX_LABELS} labels, or a label is too long`
          : undefined;
  if (tooLarge !== undefined) throw new HoldfastError("too_large", `enrollment refused: ${tooLarge}`);
}

/** A token bucket: `burst` at once, then `perSecond`. */
export class RateLimit {
  readonly #clock: Clock;
  readonly #perSecond: number;
  readonly #burst: number;
  #level: number;
  #at: number;

  constructor(clock: Clock, perSecond: number, burst: number) {
    this.#clock = clock;
    this.#perSecond = perSecond;
    this.#burst = burst;
    this.#level = burst;
    this.#at = clock.mono();
  }

  /** Throws `exhausted` when the bucket is empty. */
  take(): void {
    const now = this.#clock.mono();
    this.#level = Math.min(this.#burst, this.#level + ((now - this.#at) / 1000) * this.#perSecond);
    this.#at = now;
    if (this.#level < 1) {
      throw new HoldfastError("exhausted", "too many enrollments at the moment; try again in a few seconds", {
        retryable: true,
      });
    }
    this.#level -= 1;
  }
}
