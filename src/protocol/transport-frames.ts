import { HoldfastError } from "../core/errors.ts";
import type { RecordBatch, StreamCursor, StreamReceipt } from "../model/record.ts";
import type { Ack, AgentFrame, Cursor, HubFrame, Receipt, Records } from "./gen/holdfast/v1/sync.ts";
import { numbered } from "./loss.ts";
import { MAX_FRAME_BYTES } from "./transport.ts";

/** Rows in one frame of records; agents send 500. */
const MAX_RECORDS = 10_000;
const HASH_BYTES = 32;
const SIGNATURE_BYTES = 64;
/** Of a certificate's serial, hex: 20 bytes. */
const MAX_SERIAL_LENGTH = 40;
const NO_BYTES = Buffer.alloc(0);

/** A batch of the outbox as a frame. Bodies are not copied. */
export function recordsFrame(batch: RecordBatch): {
  frame: Extract<AgentFrame["frame"], { $case: "records" }>;
} {
  const value: Records = {
    epoch: batch.epoch,
    lane: batch.lane,
    segment: batch.segment,
    first: BigInt(batch.first),
    prevHash: asBuffer(batch.prevHash),
    lastHash: asBuffer(batch.lastHash),
    records: batch.records.map((record) => ({ class: record.class, body: asBuffer(record.body) })),
    zstd: Buffer.alloc(0),
  };
  return { frame: { $case: "records", value } };
}

/** A frame of records as a batch, checked for form. Throws `invalid` naming what is wrong. */
export function batchOfRecords(records: Records): RecordBatch {
  const first = safeNumber(records.first, "first");
  const count = records.records.length;
  const problem =
    badStream(records) ??
    (first < 1 ? "first is 0" : undefined) ??
    (count < 1 || count > MAX_RECORDS ? `${count} rows, 1 to ${MAX_RECORDS} are allowed` : undefined) ??
    (first + count > Number.MAX_SAFE_INTEGER ? "the numbers are too large" : undefined) ??
    (records.prevHash.length !== HASH_BYTES || records.lastHash.length !== HASH_BYTES
      ? "a hash is not 32 bytes long"
      : undefined) ??
    (records.records.some((record) => record.class < 1 || record.class > 255)
      ? "a class is not in 1 to 255"
      : undefined);
  if (problem !== undefined) throw new HoldfastError("invalid", `malformed batch of records: ${problem}`);
  return {
    epoch: records.epoch,
    lane: records.lane,
    segment: records.segment,
    first,
    prevHash: records.prevHash,
    lastHash: records.lastHash,
    records: numbered(first, records.records),
  };
}

export function wireCursor(cursor: StreamCursor): Cursor {
  return {
    epoch: cursor.epoch,
    lane: cursor.lane,
    segment: cursor.segment,
    number: BigInt(cursor.number),
    hash: asBuffer(cursor.hash),
  };
}

/** A cursor off the wire, checked for form. Throws `invalid`. */
export function cursorOf(cursor: Cursor): StreamCursor {
  const number = safeNumber(cursor.number, "number");
  const problem =
    badStream(cursor) ?? (cursor.hash.length !== HASH_BYTES ? "the hash is not 32 bytes" : undefined);
  if (problem !== undefined) throw new HoldfastError("invalid", `malformed cursor: ${problem}`);
  return { epoch: cursor.epoch, lane: cursor.lane, segment: cursor.segment, number, hash: cursor.hash };
}

/** `certificate` is the one of the receipt's key, where the session has not named it yet. */
export function ackFrame(
  cursor: StreamCursor,
  receipt?: StreamReceipt,
  certificate: Uint8Array = NO_BYTES,
): HubFrame {
  const value: Ack = { cursor: wireCursor(cursor) };
  if (receipt) {
    const { key, atMs, signature } = receipt;
    const bytes = { signature: asBuffer(signature), certificate: asBuffer(certificate) };
    value.receipt = { key, atMs: BigInt(atMs), ...bytes };
  }
  return { frame: { $case: "ack", value } };
}

/** A receipt off the wire, checked for form; `hub` is whose session it came in. Throws `invalid`. */
export function receiptOf(receipt: Receipt, hub: string): StreamReceipt {
  const atMs = safeNumber(receipt.atMs, "at_ms");
  const problem =
    receipt.key.length < 1 || receipt.key.length > MAX_SERIAL_LENGTH
      ? `the key's serial has ${receipt.key.length} characters`
      : receipt.signature.length !== SIGNATURE_BYTES
        ? "the signature is not 64 bytes"
        : undefined;
  if (problem !== undefined) throw new HoldfastError("invalid", `malformed receipt: ${problem}`);
  return { hub, key: receipt.key, atMs, signature: receipt.signature };
}

export function errorFrame(
  code: string,
  message: string,
  cursor?: StreamCursor,
  retryAfterMs = 0,
): { frame: Extract<HubFrame["frame"], { $case: "error" }> } {
  const value = {
    code,
    message,
    cursor: cursor === undefined ? undefined : wireCursor(cursor),
    retryAfterMs: BigInt(retryAfterMs),
  };
  return { frame: { $case: "error", value } };
}

/** About how many bytes a frame takes on the wire; never less than its payload. */
export function frameBytes({ frame }: AgentFrame): number {
  if (frame?.$case === "heartbeat") return 64 + Buffer.byteLength(frame.value.status);
  if (frame?.$case === "hello") return 1024 + Buffer.byteLength(frame.value.facts);
  if (frame?.$case !== "records") return 256;
  let bytes = 256 + frame.value.zstd.length;
  for (const record of frame.value.records) bytes += record.body.length + 14;
  return bytes;
}

/** Throws `too_large` for a frame that the other side would cut the stream for. */
export function requireFrameFits(bytes: number): void {
  if (bytes <= MAX_FRAME_BYTES) return;
  throw new HoldfastError(
    "too_large",
    `a frame of ${bytes} bytes is over the limit of ${MAX_FRAME_BYTES} and was not sent`,
  );
}

function badStream(stream: { epoch: string; lane: number; segment: number }): string | undefined {
  if (stream.epoch.length < 1 || stream.epoch.length > 64) return "the epoch is not 1 to 64 characters long";
  if (stream.lane < 1 || stream.lane > 255) return `there is no lane ${stream.lane}`;
  return stream.segment < 1 ? "the segment is 0" : undefined;
}

function safeNumber(value: bigint, what: string): number {
  if (value <= BigInt(Number.MAX_SAFE_INTEGER)) return Number(value);
  throw new HoldfastError("invalid", `malformed frame: ${what} is too large`);
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
