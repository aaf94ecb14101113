import { createPublicKey, type KeyObject, verify } from "node:crypto";
import { HoldfastError } from "../../core/errors.ts";
import { lossText, RECORD_CLASSES, type RecordBatch } from "../../model/record.ts";
import { parseLoss } from "../../protocol/loss.ts";

const SIGNATURE_BYTES = 64;

/**
 * A loss record stands in for rows that the hub never sees: it counts only with the signature of the agent whose session this
 * is. `publicKey` is that of its certificate (SPKI, DER). Throws `invalid`.
 */
export function checkLossSignatures(agent: string, batch: RecordBatch, publicKey: Uint8Array): void {
  let key: KeyObject | undefined;
  const stream = { agent, epoch: batch.epoch, lane: batch.lane, segment: batch.segment };
  for (const { class: recordClass, body } of batch.records) {
    if (recordClass !== RECORD_CLASSES.loss) continue;
    const loss = parseLoss(body);
    const signature = Buffer.from(loss.signature ?? "", "base64");
    key ??= keyOf(publicKey);
    const text = Buffer.from(lossText(stream, loss));
    const genuine =
      key !== undefined &&
      signature.length === SIGNATURE_BYTES &&
      verify("sha256", text, { key, dsaEncoding: "ieee-p1363" }, signature);
    if (!genuine) {
      throw new HoldfastError(
        "invalid",
        `the loss record for rows ${loss.first} to ${loss.last} is not signed with the key of this agent's certificate: ` +
          "nothing of its batch was kept",
      );
    }
  }
}

function keyOf(publicKey: Uint8Array): KeyObject | undefined {
  try {
    return createPublicKey({ key: Buffer.from(publicKey), format: "der", type: "spki" });
  } catch {
    return undefined;
  }
}
