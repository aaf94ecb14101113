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

/** What a session's two sides can both do. */
export type Common = ReadonlySet<Capability>;

/** What the agent of this version says in its hello, and the hub in its welcome. */
export const AGENT_CAPABILITIES: readonly Capability[] = ["loss", "receipts", "segments", "zstd"];
export const HUB_CAPABILITIES: readonly Capability[] = ["loss", "receipts", "segments", "zstd"];

/** A side names at most so many; more, or longer names, are passed over like unknown ones. */
const MAX_CAPABILITIES = 64;

/** What both sides have said; names that this version does not know are passed over. */
export function commonCapabilities(ours: readonly string[], theirs: readonly string[]): Common {
  const said = theirs.slice(0, MAX_CAPABILITIES);
  return new Set(CAPABILITIES.filter((capability) => ours.includes(capability) && said.includes(capability)));
}
