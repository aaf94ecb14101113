import { sameHash } from "../../protocol/chain.ts";

/**
 * A later segment says with its first link where the one before it ended. How many of `hashes`, which follow `hash` in the
 * earlier one, lie beyond that end; 0 while it is not passed, or not come to: the earlier segment may still be draining.
 */
export function rowsBeyondEnd(nextLink: Uint8Array, hash: Uint8Array, hashes: Uint8Array[]): number {
  if (sameHash(hash, nextLink)) return hashes.length;
  const end = hashes.findIndex((each) => sameHash(each, nextLink));
  return end < 0 ? 0 : hashes.length - end - 1;
}
