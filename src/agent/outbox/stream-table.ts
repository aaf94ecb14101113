import type { OutboxStore } from "./ports.ts";
import { SendOrder } from "./send-order.ts";
import { goneOf, StreamWindow } from "./stream-window.ts";

/** The streams of the store's epoch, as last read, with what is under way of each. */
export class StreamTable {
  /** The store has rows that are not known here yet. */
  stale = true;
  /** Milliseconds after which rows that wait for more of them may go, as of the last `ready`. */
  gathersMs = Number.POSITIVE_INFINITY;
  readonly #store: Pick<OutboxStore, "streams">;
  readonly #order = new SendOrder();
  #windows = new Map<string, StreamWindow>();
  #refreshing: Promise<void> | undefined;

  readonly #mayGo: (stream: StreamWindow) => boolean;

  /** `mayGo` says no while a stream has to wait for the store to keep an ack. */
  constructor(store: Pick<OutboxStore, "streams">, mayGo: (stream: StreamWindow) => boolean) {
    this.#store = store;
    this.#mayGo = mayGo;
  }

  get(key: string): StreamWindow | undefined {
    return this.#windows.get(key);
  }

  /** Forgets everything; the next refresh begins at the store's marks. */
  clear(): void {
    this.#windows = new Map();
    this.#refreshing = undefined;
    this.stale = true;
  }

  /** Rows that the hub does not have; of closed segments alone, or of all. */
  lagRows(closed = false): number {
    let rows = 0;
    for (const stream of this.#windows.values())
      if (stream.closed || !closed) rows += Math.max(0, stream.last - stream.acknowledged - stream.gone);
    return rows;
  }

  blocked(): string | null {
    for (const stream of this.#windows.values()) if (stream.blocked !== null) return stream.blocked;
    return null;
  }

  busy(): boolean {
    return [...this.#windows.values()].some((stream) => stream.batches > 0);
  }

  /**
   * The stream that sends next, of those with rows to send and room in their window. A lane's fresh rows and its backlog have
   * a window each. Without a time no rows wait for more.
   */
  ready(
    windowBatches: number,
    windowBytes: number,
    drains: boolean,
    nowMs?: number,
  ): StreamWindow | undefined {
    this.gathersMs = Number.POSITIVE_INFINITY;
    const used = new Map<string, { batches: number; bytes: number }>();
    for (const stream of this.#windows.values()) {
      const sum = used.get(windowOf(stream)) ?? { batches: 0, bytes: 0 };
      used.set(windowOf(stream), {
        batches: sum.batches + stream.batches,
        bytes: sum.bytes + stream.bytes,
      });
    }
    const sendable = [...this.#windows.values()].filter((stream) => {
      const { batches, bytes } = used.get(windowOf(stream))!;
      const room = batches < windowBatches && bytes < windowBytes;
      if (!room || stream.blocked !== null || stream.next > stream.last || !this.#mayGo(stream)) return false;
      const gathers = nowMs === undefined ? 0 : stream.gathersMs(nowMs);
      if (gathers > 0) this.gathersMs = Math.min(this.gathersMs, gathers);
      return gathers === 0;
    });
    return this.#order.next(sendable, drains);
  }

  /** Reads the store's streams; callers at the same time share one reading. */
  refresh(): Promise<void> {
    const reading = (this.#refreshing ??= this.#read().finally(() => {
      if (this.#refreshing === reading) this.#refreshing = undefined;
    }));
    return reading;
  }

  async #read(): Promise<void> {
    this.stale = false;
    const windows = this.#windows;
    const stored = await this.#store.streams().catch((error: unknown) => {
      this.stale = true;
      throw error;
    });
    // Cleared meanwhile: these rows may be of the old epoch, and go into a map that nobody reads.
    for (const row of stored) {
      const known = windows.get(`${row.lane}/${row.segment}`);
      if (known === undefined) windows.set(`${row.lane}/${row.segment}`, new StreamWindow(row));
      else {
        known.last = Math.max(known.last, row.last);
        known.acknowledged = Math.max(known.acknowledged, row.acknowledged);
        known.gone = goneOf(row);
      }
    }
  }
}

function windowOf({ lane, closed }: StreamWindow): string {
  return `${lane}/${closed}`;
}
