import type { StreamRecord } from "../model/record.ts";

const HEAD = new Uint8Array(32 + 8 + 1 + 32);
const HEAD_VIEW = new DataView(HEAD.buffer);
const HEAD_BODY = HEAD.subarray(41);

/**
 * Row hash of DESIGN promise 3: SHA-256(previous ‖ number ‖ class ‖ SHA-256(body)), with the number as unsigned 64-bit
 * big-endian and the class as one byte.
 */
export function rowHash(
  previous: Uint8Array,
  number: number,
  recordClass: number,
  body: Uint8Array | string,
): Uint8Array {
  return rowHashInto(previous, number, recordClass, body, new Uint8Array(32));
}

/** `rowHash` written into `out` (32 bytes; may be `previous` itself), for loops over many rows. Returns `out`. */
export function rowHashInto(
  previous: Uint8Array,
  number: number,
  recordClass: number,
  body: Uint8Array | string,
  out: Uint8Array,
): Uint8Array {
  HEAD.set(previous, 0);
  HEAD_VIEW.setUint32(32, Math.floor(number / 2 ** 32));
  HEAD_VIEW.setUint32(36, number >>> 0);
  HEAD[40] = recordClass;
  Bun.SHA256.hash(body, HEAD_BODY);
  Bun.SHA256.hash(HEAD, out);
  return out;
}

/** The hash of every row of a batch, in order, starting from `previous`. */
export function chainHashes(previous: Uint8Array, records: StreamRecord[]): Uint8Array[] {
  const hashes: Uint8Array[] = [];
  let hash = previous;
  for (const record of records) {
    hash = rowHash(hash, record.number, record.class, record.body);
    hashes.push(hash);
  }
  return hashes;
}

export function sameHash(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && Buffer.compare(a, b) === 0;
}
