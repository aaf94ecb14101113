import type { RecordBatch, StreamCursor } from "../../model/record.ts";

/** What a session needs of the outbox. A `conflict` with `details.fork` asks for `renew`. */
export interface OutboxPort {
  readonly epoch: string;
  lagRows(): number;
  problem(): string | null;
  begin(cursors: StreamCursor[]): Promise<void>;
  pump(send: (batch: RecordBatch) => Promise<void>, signal: AbortSignal): Promise<void>;
  acked(cursor: StreamCursor): void;
  gap(cursor: StreamCursor): void;
  renew(reason: string): Promise<void>;
  settled(signal: AbortSignal): Promise<void>;
}
