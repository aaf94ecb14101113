import { HoldfastError } from "../../core/errors.ts";
import type { RecordBatch, StreamCursor } from "../../model/record.ts";
import type { Common } from "../../protocol/capabilities.ts";
import type { HubFrame, Records } from "../../protocol/gen/holdfast/v1/sync.ts";
import { decompressed } from "../../protocol/records-zstd.ts";
import { batchOfRecords, errorFrame } from "../../protocol/transport-frames.ts";
import type { AckWriter } from "./ack-writer.ts";
import type { IngestResult } from "./sessions.ts";

/** Batches of one agent that may wait for their commit; at that point the stream is read no further. */
export const BATCHES_IN_FLIGHT = 16;
const MAX_BROKEN_STREAMS = 1024;

export interface IntakeOptions {
  agentId: string;
  /** What both sides of the session can do. */
  common: Common;
  records(agentId: string, batch: RecordBatch): Promise<IngestResult>;
  acks: Pick<AckWriter, "take">;
  send(frame: HubFrame): Promise<void>;
  /** Called for the first batch that cannot be taken; the session has to end. */
  fail(error: unknown): void;
}

/**
 * Hands batches of one agent to ingest in order and answers each: an ack after the commit, or where to go on. After a
 * gap or a fork the stream's later batches, sent before the agent knew, are passed over in silence.
 */
export class RecordIntake {
  readonly #options: IntakeOptions;
  /** By stream: highest number that a batch may begin with after a gap; 0, so none, after a fork. */
  readonly #broken = new Map<string, number>();
  readonly #waiting = new Set<Promise<void>>();
  #failed = false;

  constructor(options: IntakeOptions) {
    this.#options = options;
  }

  /** Resolves when there is room for another batch. */
  async take(records: Records): Promise<void> {
    if (this.#failed) return;
    const batch = batchOfRecords(await decompressed(records, this.#options.common.has("zstd")));
    const key = streamKey(batch);
    if (batch.first > (this.#broken.get(key) ?? batch.first)) return;
    this.#broken.delete(key);
    const work: Promise<void> = this.#work(key, batch).finally(() => this.#waiting.delete(work));
    this.#waiting.add(work);
    while (this.#waiting.size >= BATCHES_IN_FLIGHT) await Promise.race(this.#waiting);
  }

  /** Says once more what was committed in earlier sessions. */
  async acknowledge(cursors: StreamCursor[]): Promise<void> {
    for (const cursor of cursors.filter(({ number }) => number > 0)) {
      await this.#options.acks.take(cursor).catch((error: unknown) => this.#fail(error));
    }
  }

  /** Resolves when every batch taken has been answered. */
  async settled(): Promise<void> {
    while (this.#waiting.size > 0) await Promise.all(this.#waiting);
  }

  async #work(key: string, batch: RecordBatch): Promise<void> {
    try {
      await this.#answer(key, await this.#options.records(this.#options.agentId, batch));
    } catch (error) {
      this.#fail(error);
    }
  }

  #fail(error: unknown): void {
    if (this.#failed) return;
    this.#failed = true;
    this.#options.fail(error);
  }

  async #answer(key: string, result: IngestResult): Promise<void> {
    const { cursor } = result;
    if (result.kind === "ack") return await this.#options.acks.take(cursor);
    const known = this.#broken.get(key);
    const goOn = result.kind === "gap" ? cursor.number + 1 : 0;
    if (known === goOn || known === 0) return;
    if (this.#broken.size >= MAX_BROKEN_STREAMS) {
      throw new HoldfastError(
        "exhausted",
        `more than ${MAX_BROKEN_STREAMS} streams of this agent are broken`,
      );
    }
    this.#broken.set(key, goOn);
    const message =
      result.kind === "fork" ? result.message : `rows are missing: go on after ${cursor.number}`;
    await this.#options.send(errorFrame(result.kind, message, cursor));
  }
}

function streamKey(batch: RecordBatch): string {
  return `${batch.epoch}/${batch.lane}/${batch.segment}`;
}
