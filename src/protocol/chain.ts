import { HoldfastError } from "../core/errors.ts";
import { RECORD_CLASSES, type StreamRecord } from "../model/record.ts";
import { parseLoss } from "./loss.ts";

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

/**
 * The hash of every row of a batch, in order, starting from `previous`. Throws `invalid` for a loss record that is malformed or
 * does not follow the row before it.
 */
export function chainHashes(previous: Uint8Array, records: StreamRecord[]): Uint8Array[] {
  const hashes: Uint8Array[] = [];
  let hash = previous;
  let before: number | undefined;
  for (const record of records) {
    hash =
      record.class === RECORD_CLASSES.loss
        ? hashAfterLoss(hash, before, record.body)
        : rowHash(hash, record.number, record.class, record.body);
    before = record.number;
    hashes.push(hash);
  }
  return hashes;
}

/** The rows themselves are gone: the record says what the hash of the last one was. `before` is undefined when not known. */
export function hashAfterLoss(
  previous: Uint8Array,
  before: number | undefined,
  body: Uint8Array | string,
): Uint8Array {
  const { first, prevHash, lastHash } = parseLoss(body);
  if ((before !== undefined && first !== before + 1) || !sameHash(previous, Buffer.from(prevHash, "hex"))) {
    throw new HoldfastError(
      "invalid",
      `the loss record from number ${first} on does not follow the row before it`,
    );
  }
  return new Uint8Array(Buffer.from(lastHash, "hex"));
}

export function sameHash(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && Buffer.compare(a, b) === 0;
}
