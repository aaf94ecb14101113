import type { RecordBatch, StreamCursor } from "../../model/record.ts";

/** A stream of the store's epoch, as the store tells it. */
export interface StoredStream {
  lane: number;
  segment: number;
  /** Last number given out; 0 is none. */
  last: number;
  lastHash: Uint8Array;
  acknowledged: number;
}

/** What the outbox needs of the agent's store (see src/agent/store/port.ts for the contract). */
export interface OutboxStore {
  readonly facts: { epoch: string };
  streams(): Promise<StoredStream[]>;
  /** Null when there is no row `first` yet; `not_found` when it was acknowledged and is gone. */
  readBatch(
    lane: number,
    segment: number,
    first: number,
    maxRows: number,
    maxBytes: number,
  ): Promise<RecordBatch | null>;
  /** Throws `conflict` when the cursor is not one of this store's history. */
  acknowledge(cursor: StreamCursor): Promise<void>;
  renewEpoch(reason: string, held: { lane: number; segment: number; number: number }[]): Promise<string>;
  onOutbox(listener: () => void): void;
}
