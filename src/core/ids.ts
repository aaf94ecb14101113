/** Identifiers and randomness, handed in so that a seeded run can replay them. */
export interface Ids {
  /** A time-ordered UUIDv7 (RFC 9562). */
  next(): string;
  /** Uniform in [0, 1). */
  random(): number;
  /** `bytes` random bytes as lower-case hex. */
  hex(bytes: number): string;
}

export function systemIds(): Ids {
  return {
    next: () => Bun.randomUUIDv7(),
    random: () => Math.random(),
    hex: (bytes) => Buffer.from(crypto.getRandomValues(new Uint8Array(bytes))).toString("hex"),
  };
}
