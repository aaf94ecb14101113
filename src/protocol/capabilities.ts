/**
 * What a side of a session can do beyond the first version of the protocol. Each says its own in hello and welcome; what
 * both have said holds for the session. Names are wire values: never reuse one for something else.
 */
export const CAPABILITIES = [
  /** Signed loss records (class 9) in the place of rows that had to go. */
  "loss",
  /** Acks carry a signed receipt. */
  "receipts",
  /** `Records.zstd`. */
  "zstd",
  /** Segments after the first: a backlog drains beside fresh rows. */
  "segments",
] as const;
export type Capability = (typeof CAPABILITIES)[number];

/** What both sides can do; names that this version does not know are passed over. */
export function commonCapabilities(theirs: readonly string[]): ReadonlySet<Capability> {
  return new Set(CAPABILITIES.filter((capability) => theirs.includes(capability)));
}
