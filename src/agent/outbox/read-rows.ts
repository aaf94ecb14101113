import { HoldfastError } from "../../core/errors.ts";
import type { RecordBatch } from "../../model/record.ts";
import type { OutboxStore, StoredStream } from "./ports.ts";

/** A batch that begins with row `first`; null when the store does not have that row (any more). */
export async function readRows(
  store: Pick<OutboxStore, "readBatch">,
  stream: Pick<StoredStream, "lane" | "segment">,
  first: number,
  limits: { rows: number; bytes: number },
): Promise<RecordBatch | null> {
  try {
    const batch = await store.readBatch(stream.lane, stream.segment, first, limits.rows, limits.bytes);
    return batch !== null && batch.first === first && batch.records.length > 0 ? batch : null;
  } catch (error) {
    if (error instanceof HoldfastError && error.code === "not_found") return null;
    throw error;
  }
}
