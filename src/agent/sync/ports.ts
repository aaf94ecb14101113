import type { KeptReceipt, RecordBatch, StreamCursor, StreamReceipt } from "../../model/record.ts";
import type { Common } from "../../protocol/capabilities.ts";

/** What a session needs of the outbox. A `conflict` with `details.fork` asks for `renew`. */
export interface OutboxPort {
  readonly epoch: string;
  lagRows(): number;
  backlogRows(): number;
  problem(): string | null;
  /** `common`: what both sides of this session can do; `backlogPace`: bytes of backlog a second at most, 0 is no bound. */
  begin(cursors: StreamCursor[], common: Common, backlogPace: number): Promise<void>;
  pump(send: (batch: RecordBatch) => Promise<void>, signal: AbortSignal): Promise<void>;
  acked(cursor: StreamCursor, receipt?: StreamReceipt): void;
  gap(cursor: StreamCursor): void;
  renew(reason: string): Promise<void>;
  settled(signal: AbortSignal): Promise<void>;
}

/** What a session needs of the store for receipts; one comes into it with the ack that it belongs to. */
export interface ReceiptStore {
  receipts(): Promise<KeptReceipt[]>;
  keepReceiptCertificates(
    certificates: { hub: string; serial: string; certificate: Uint8Array; authority: Uint8Array }[],
  ): Promise<void>;
}
