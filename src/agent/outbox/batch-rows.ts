import { RECORD_CLASSES, type RecordBatch, type StreamCursor } from "../../model/record.ts";
import { chainHashes } from "../../protocol/chain.ts";

/** The rows in front of the first loss record; null when there is none. */
export function beforeLoss(batch: RecordBatch): RecordBatch | null {
  const at = batch.records.findIndex((record) => record.class === RECORD_CLASSES.loss);
  if (at < 0) return batch;
  const records = batch.records.slice(0, at);
  const lastHash = chainHashes(batch.prevHash, records).at(-1);
  return lastHash === undefined ? null : { ...batch, records, lastHash };
}

/** Of the bodies. */
export function bytesOf(batch: RecordBatch): number {
  let bytes = 0;
  for (const record of batch.records) bytes += record.body.length;
  return bytes;
}

/** For messages. */
export function where(cursor: StreamCursor): string {
  return `lane ${cursor.lane}, segment ${cursor.segment}, after number ${cursor.number}`;
}
