import { HoldfastError } from "../../core/errors.ts";
import { lossText, RECORD_CLASSES, type RecordBatch } from "../../model/record.ts";
import { parseLoss } from "../../protocol/loss.ts";

/**
 * A batch as it is sent: its loss records carry the signature of the key of this session's certificate (PEM). Throws `denied` where
 * the session has no key.
 */
export async function signLosses(
  agent: string,
  batch: RecordBatch,
  key: string | undefined,
): Promise<RecordBatch> {
  if (!batch.records.some((record) => record.class === RECORD_CLASSES.loss)) return batch;
  if (key === undefined) {
    throw new HoldfastError(
      "denied",
      "a loss record cannot be sent: this session has no key to sign it with",
    );
  }
  // Seldom needed: an idle agent does not hold it.
  const { sign } = await import("node:crypto");
  const stream = { agent, epoch: batch.epoch, lane: batch.lane, segment: batch.segment };
  const records = batch.records.map((record) => {
    if (record.class !== RECORD_CLASSES.loss) return record;
    const loss = parseLoss(record.body);
    const text = Buffer.from(lossText(stream, loss));
    const signature = sign("sha256", text, { key, dsaEncoding: "ieee-p1363" }).toString("base64");
    return { ...record, body: Buffer.from(JSON.stringify({ ...loss, signature })) };
  });
  return { ...batch, records };
}
