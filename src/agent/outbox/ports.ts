import type { RecordBatch, StreamCursor, StreamReceipt } from "../../model/record.ts";

/** A stream of the store's epoch, as the store tells it. */
export interface StoredStream {
  lane: number;
  segment: number;
  /** Last number given out; 0 is none. */
  last: number;
  lastHash: Uint8Array;
  acknowledged: number;
  /** No row is added any more; the next segment begins with its last hash. */
  closed: boolean;
  /** The hash before row 1. */
  firstLink: Uint8Array;
  /** Rows and bytes that are not acknowledged. */
  rows: number;
  bytes: number;
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
  acknowledge(cursor: StreamCursor, receipt?: StreamReceipt): Promise<void>;
  /** Closes the open segment of these lanes, of which not too many segments wait already; those whose segment was closed. */
  closeSegments(lanes: number[]): Promise<number[]>;
  renewEpoch(reason: string, held: { lane: number; segment: number; number: number }[]): Promise<string>;
  onOutbox(listener: () => void): void;
}
