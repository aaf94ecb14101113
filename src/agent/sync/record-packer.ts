import type { RecordBatch } from "../../model/record.ts";
import type { Common } from "../../protocol/capabilities.ts";
import type { AgentFrame } from "../../protocol/gen/holdfast/v1/sync.ts";
import { compressed } from "../../protocol/records-zstd.ts";
import { MAX_FRAME_BYTES } from "../../protocol/transport.ts";
import { frameBytes, recordsFrame } from "../../protocol/transport-frames.ts";

/** Smaller batches are sent as they are: handing them over takes longer than it saves. */
const LEAST_BYTES = 2048;
/** What is not smaller by a tenth was not worth it; the next batches are sent as they are, and then it is tried again. */
const POOR = 0.9;
const PASSED_OVER = 32;

/** Makes frames of batches, compressed where both sides can and it pays. */
export class RecordPacker {
  readonly #zstd: boolean;
  #passOver = 0;

  constructor(common: Common) {
    this.#zstd = common.has("zstd");
  }

  async frame(batch: RecordBatch): Promise<AgentFrame> {
    const frame = recordsFrame(batch);
    // What is too large as it is would be too large for the hub too, once it is decompressed.
    const bytes = frameBytes(frame);
    if (!this.#zstd || bytes < LEAST_BYTES || bytes > MAX_FRAME_BYTES) return frame;
    if (this.#passOver > 0) {
      this.#passOver--;
      return frame;
    }
    const { records, rawBytes } = await compressed(frame.frame.value);
    if (records.zstd.length <= rawBytes * POOR) return { frame: { $case: "records", value: records } };
    this.#passOver = PASSED_OVER;
    return frame;
  }
}
