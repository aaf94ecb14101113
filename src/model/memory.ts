import { HoldfastError } from "../core/errors.ts";
import type { Json } from "./json.ts";

/** Keys of the agent's memory (row G-11). */
export const MEMORY_KEY = /^[\w.:-]{1,256}$/;
/** Bytes of one value, as JSON. */
export const MAX_MEMORY_VALUE = 256 * 1024;

/** How much the memory of one agent may hold. */
export interface MemoryLimits {
  /** Of one namespace, so that one plugin does not use up what is there for all. */
  namespaceKeys: number;
  namespaceBytes: number;
  keys: number;
  bytes: number;
}

export const DEFAULT_MEMORY_LIMITS: MemoryLimits = {
  namespaceKeys: 10_000,
  namespaceBytes: 16 * 1024 ** 2,
  keys: 50_000,
  bytes: 64 * 1024 ** 2,
};

/** One value. Times: trusted Unix milliseconds. */
export interface MemoryEntry {
  value: Json;
  /** Number of the write; a later one has a higher number, also over deletions and restarts. */
  version: number;
  changedMs: number;
  /** Null: it stays until it is deleted. */
  expiresMs: number | null;
}

/** One value in a list. */
export interface MemoryListing extends Omit<MemoryEntry, "value"> {
  namespace: string;
  key: string;
  bytes: number;
}

/** A value that is held for an update: nobody else gets it before `checkin`, `update`, or the end of the holder's time. */
export interface MemoryCheckout {
  /** A fencing number of the store: the next checkout of the key has a higher one, and makes this one useless. */
  token: number;
  exists: boolean;
  value: Json;
}

export function checkMemoryKey(key: string): string {
  if (MEMORY_KEY.test(key)) return key;
  throw new HoldfastError(
    "invalid",
    `a key of the memory has 1 to 256 letters, digits and _ . : -, not ${JSON.stringify(key.slice(0, 60))}`,
  );
}

/** The value as it is stored. Throws `invalid` for what is no JSON, `too_large` for what is too long. */
export function memoryText(key: string, value: Json): string {
  const text: string | undefined = JSON.stringify(value);
  if (text === undefined) throw new HoldfastError("invalid", `the value for ${key} is no JSON`);
  const bytes = Buffer.byteLength(text);
  if (bytes <= MAX_MEMORY_VALUE) return text;
  throw new HoldfastError(
    "too_large",
    `the value for ${key} has ${bytes} bytes, the memory takes at most ${MAX_MEMORY_VALUE}: keep large things in a file`,
  );
}

/** Milliseconds that a value is to be kept, or null for ever. */
export function checkTtl(ttlMs: number | null): number | null {
  if (ttlMs === null || (Number.isFinite(ttlMs) && ttlMs > 0)) return ttlMs;
  throw new HoldfastError("invalid", `the time to keep a value must be above 0, not ${ttlMs}`);
}

/** Somebody else has changed the value, or was given it because the holder took too long. */
export function checkoutExpired(key: string): HoldfastError {
  return new HoldfastError(
    "expired",
    `the checkout of ${key} is over: somebody else holds it or has changed it; nothing was written, check it out again`,
    { retryable: true },
  );
}
