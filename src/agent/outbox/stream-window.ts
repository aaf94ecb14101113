import type { RecordBatch, StreamCursor } from "../../model/record.ts";
import { sameHash } from "../../protocol/chain.ts";
import { lastOf } from "../../protocol/loss.ts";
import type { StoredStream } from "./ports.ts";

interface Sent {
  first: number;
  last: number;
  lastHash: Uint8Array;
  bytes: number;
}

/** Rows that are worth a batch at once. */
const ENOUGH_ROWS = 64;
/** How long fewer of them wait for more. */
export const GATHER_MS = 10;

/** What is under way of one stream: sent and not acknowledged, in order. */
export class StreamWindow {
  readonly lane: number;
  readonly segment: number;
  /** Fresh rows go into a later segment. */
  readonly closed: boolean;
  /** Last number the store has given out. */
  last: number;
  /** Acknowledged and committed so in the store. */
  acknowledged: number;
  /** Numbers beyond it that no row stands behind: loss records say so. */
  gone: number;
  /** Number to send next. */
  next: number;
  /** Why nothing of this stream is sent any more in this session. */
  blocked: string | null = null;
  #sent: Sent[] = [];
  #bytes = 0;
  #gatheringSince: number | null = null;

  constructor(stored: StoredStream) {
    this.lane = stored.lane;
    this.segment = stored.segment;
    this.closed = stored.closed;
    this.last = stored.last;
    this.acknowledged = stored.acknowledged;
    this.gone = goneOf(stored);
    this.next = stored.acknowledged + 1;
  }

  get key(): string {
    return `${this.lane}/${this.segment}`;
  }

  get batches(): number {
    return this.#sent.length;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** The next `rows` rows may go beyond those that the store keeps from a loss record (SENT_AHEAD in model/record.ts). */
  farAhead(rows: number, ahead: number): boolean {
    return this.next + rows - 1 > this.acknowledged + ahead;
  }

  /**
   * Milliseconds that the next rows wait for more: a busy agent does not send one row a batch. On a link with nothing of
   * the stream under way they wait not at all.
   */
  gathersMs(nowMs: number): number {
    if (this.closed || this.#sent.length === 0 || this.last - this.next + 1 >= ENOUGH_ROWS) return 0;
    this.#gatheringSince ??= nowMs;
    return Math.max(0, this.#gatheringSince + GATHER_MS - nowMs);
  }

  sent(batch: RecordBatch, bytes: number): void {
    const last = lastOf(batch);
    this.#gatheringSince = null;
    this.#sent.push({ first: batch.first, last, lastHash: batch.lastHash, bytes });
    this.#bytes += bytes;
    this.next = last + 1;
    // The batch may hold rows that were committed after we last asked how far the store is.
    this.last = Math.max(this.last, last);
  }

  /** Takes an ack; false when its hash is not the one that was sent under this number. */
  acked(cursor: StreamCursor): boolean {
    const same = this.#sent.every(
      (sent) => sent.last !== cursor.number || sameHash(sent.lastHash, cursor.hash),
    );
    const done = this.#sent.filter((sent) => sent.last <= cursor.number);
    this.#sent = this.#sent.slice(done.length);
    for (const sent of done) this.#bytes -= sent.bytes;
    return same;
  }

  /** Goes on after `number`, where the hub stands; false when it already does. */
  rewind(number: number): boolean {
    if (this.next === number + 1 && this.#sent.length === 0) return false;
    this.reset(number + 1);
    return true;
  }

  reset(next: number): void {
    this.#gatheringSince = null;
    this.#sent = [];
    this.#bytes = 0;
    this.next = next;
    this.blocked = null;
  }
}

export function goneOf({ last, acknowledged, rows }: StoredStream): number {
  return last - acknowledged - rows;
}
