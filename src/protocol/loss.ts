import { HoldfastError } from "../core/errors.ts";
import { type LossRecordBody, RECORD_CLASSES, type RecordBatch, type StreamRecord } from "../model/record.ts";

const HASH = /^[0-9a-f]{64}$/;
const CLASS = /^\d{1,3}$/;
/** A body is a few hundred bytes. */
const MAX_BYTES = 8192;

/** Reads the body of a loss record off the wire or the store. Throws `invalid` naming what is wrong with it. */
export function parseLoss(body: Uint8Array | string): LossRecordBody {
  let loss: LossRecordBody;
  try {
    if (body.length > MAX_BYTES) throw new Error("it is too long");
    loss = JSON.parse(
      typeof body === "string" ? body : new TextDecoder("utf-8", { fatal: true }).decode(body),
    );
  } catch (error) {
    throw malformed((error as Error).message);
  }
  const wrong = problemOf(loss);
  if (wrong !== undefined) throw malformed(wrong);
  return loss;
}

function problemOf(loss: LossRecordBody): string | undefined {
  if (typeof loss !== "object" || loss === null) return "it is no object";
  const { first, last, counts, prevHash, lastHash, reason, atMs, signature } = loss;
  if (!isCount(first) || !isCount(last) || last < first) return "its numbers are out of range";
  if (!isHash(prevHash) || !isHash(lastHash)) return "a hash is not 32 bytes in hex";
  if (reason !== "cap" && reason !== "damaged") return "it has no reason";
  if (!Number.isSafeInteger(atMs)) return "its time is out of range";
  if (signature !== undefined && typeof signature !== "string") return "its signature is no text";
  if (typeof counts !== "object" || counts === null) return "it has no counts";
  let rows = 0;
  for (const [recordClass, count] of Object.entries(counts)) {
    if (!CLASS.test(recordClass) || Number(recordClass) > 255 || !isCount(count))
      return "a count is out of range";
    rows += count;
  }
  return rows === last - first + 1 ? undefined : "its counts are not as many as its numbers";
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 1;
}

function isHash(value: unknown): boolean {
  return typeof value === "string" && HASH.test(value);
}

function malformed(why: string): HoldfastError {
  return new HoldfastError("invalid", `malformed loss record: ${why}`);
}

/**
 * Rows in order with their numbers, the first of them `first`. A loss record has the last of the numbers that it stands for;
 * one that cannot be read has the number due, and is refused where its chain is checked.
 */
export function numbered(first: number, rows: { class: number; body: Uint8Array }[]): StreamRecord[] {
  let due = first;
  return rows.map(({ class: recordClass, body }) => {
    const number = recordClass === RECORD_CLASSES.loss ? lossEnd(body, due) : due;
    due = number + 1;
    return { number, class: recordClass, body };
  });
}

function lossEnd(body: Uint8Array, due: number): number {
  try {
    return Math.max(due, parseLoss(body).last);
  } catch {
    return due;
  }
}

/** Number of the last row of a batch that has one. */
export function lastOf(batch: Pick<RecordBatch, "records">): number {
  return batch.records.at(-1)!.number;
}

/** The first number that each row of a batch stands for. */
export function startsOf(batch: Pick<RecordBatch, "first" | "records">): number[] {
  return batch.records.map((_, index) => (index === 0 ? batch.first : batch.records[index - 1]!.number + 1));
}

/** Whether one of the rows is a loss record. */
export function hasLoss(batch: Pick<RecordBatch, "records">): boolean {
  return batch.records.some((record) => record.class === RECORD_CLASSES.loss);
}
