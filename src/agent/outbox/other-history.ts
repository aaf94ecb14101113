import { HoldfastError } from "../../core/errors.ts";

/**
 * The hub's copy of a stream and this store cannot be the same history: `conflict` with `details.fork`. The session
 * has to end and the store to begin a new epoch (DESIGN promise 3).
 */
export function otherHistory(message: string): HoldfastError {
  return new HoldfastError("conflict", message, { details: { fork: true } });
}
