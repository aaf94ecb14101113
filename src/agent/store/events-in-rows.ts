import type { Database } from "bun:sqlite";
import { LANES } from "../../model/record.ts";
import type { WriteGate } from "../../storage/write-gate.ts";
import { bodyOf, type OutboxRow, SELECT_ROWS } from "./outbox-rows.ts";
import type { StreamHead, StreamHeads } from "./stream-heads.ts";

/**
 * Rows of events point to the events. Those that stay in front of a loss take in what they point to, so that history can let
 * go of old events although some of the oldest rows are kept.
 */
export class EventsInRows {
  readonly #database: Database;
  readonly #take;
  readonly #heads: StreamHeads;
  /** Up to where it was done in this epoch, by segment; only what this program did. */
  readonly #done = new Map<string, number>();

  constructor(database: Database, gate: WriteGate, heads: StreamHeads) {
    this.#database = database;
    this.#heads = heads;
    this.#take = gate.prepare(
      database,
      "outbox.take-in",
      "UPDATE outbox SET body = ?, event_n = NULL WHERE lane = ? AND segment = ? AND number = ?",
    );
  }

  load(): void {
    this.#done.clear();
  }

  /** At most `most` rows of a stream, up to number `to`; 0 when all have. */
  takeIn({ lane, segment, trimmed }: StreamHead, to: number, most: number): number {
    if (lane !== LANES.events) return 0;
    const key = `${this.#heads.epoch}/${segment}`;
    const from = Math.max(trimmed, this.#done.get(key) ?? 0);
    if (from >= to) return 0;
    const rows = this.#database.query(SELECT_ROWS).all(lane, segment, from, most) as OutboxRow[];
    let taken = 0;
    for (const row of rows.filter(({ number }) => number <= to)) {
      if (row.body === null) this.#take(bodyOf(row), lane, segment, row.number);
      taken++;
    }
    this.#done.set(key, taken === 0 ? to : Math.min(to, rows[taken - 1]!.number));
    return taken;
  }
}
