import type { RecordBatch, StreamCursor } from "../../model/record.ts";
import type { Common } from "../../protocol/capabilities.ts";

/** What a session needs of the outbox. A `conflict` with `details.fork` asks for `renew`. */
export interface OutboxPort {
  readonly epoch: string;
  lagRows(): number;
  problem(): string | null;
  /** `common`: what both sides of this session can do. */
  begin(cursors: StreamCursor[], common: Common): Promise<void>;
  pump(send: (batch: RecordBatch) => Promise<void>, signal: AbortSignal): Promise<void>;
  acked(cursor: StreamCursor): void;
  gap(cursor: StreamCursor): void;
  renew(reason: string): Promise<void>;
  settled(signal: AbortSignal): Promise<void>;
}
