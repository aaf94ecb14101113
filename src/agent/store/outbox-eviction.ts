import type { Database } from "bun:sqlite";
import { LANES, type LossRecordBody, RECORD_CLASSES } from "../../model/record.ts";
import type { WriteGate } from "../../storage/write-gate.ts";
import type { EventsInRows } from "./events-in-rows.ts";
import type { Evicted } from "./outbox-stats.ts";
import type { OutboxCap } from "./retention.ts";
import type { StoreParts } from "./store-parts.ts";
import type { StreamHead } from "./stream-heads.ts";
import type { Trimmed, TrimNow } from "./trim-step.ts";

interface Row {
  number: number;
  class: number;
  size: number;
}

interface Run {
  head: StreamHead;
  rows: Row[];
}

const NOTHING: Trimmed = { touched: 0, more: false };
/** What is given up first. */
const ORDER = Object.values(LANES).toSorted((a, b) => b - a);

/**
 * Keeps what waits for the hub within its cap: the oldest rows of the lowest lane become a loss record in their place. Rows
 * that may be on their way stay, as do loss records.
 */
export class OutboxEviction {
  readonly #database: Database;
  readonly #parts: StoreParts;
  readonly #cap: OutboxCap;
  readonly #events: EventsInRows;
  readonly #delete;
  /** Rows of all streams when nothing was found that may go: it is not looked for again with each new row. */
  #stuckAt: number | undefined;
  #evicted: Evicted | undefined;

  constructor(database: Database, gate: WriteGate, parts: StoreParts, cap: OutboxCap, events: EventsInRows) {
    this.#database = database;
    this.#parts = parts;
    this.#cap = cap;
    this.#events = events;
    this.#delete = gate.prepare(
      database,
      "outbox.evict",
      "DELETE FROM outbox WHERE lane = ? AND segment = ? AND number BETWEEN ? AND ?",
    );
  }

  load(): void {
    this.#stuckAt = undefined;
    this.#evicted = undefined;
  }

  /** More waits for the hub than may, and some of it may go. */
  full(): boolean {
    const { rows, bytes } = this.waiting();
    if (rows <= this.#cap.rows && bytes <= this.#cap.bytes) return false;
    return this.#stuckAt === undefined || rows < this.#stuckAt || rows >= this.#stuckAt + this.#cap.least;
  }

  waiting(): { rows: number; bytes: number } {
    let rows = 0;
    let bytes = 0;
    for (const head of this.#parts.heads.all()) {
      rows += head.rows;
      bytes += head.bytes;
    }
    return { rows, bytes };
  }

  /** What the last step gave up, once. */
  takeEvicted(): Evicted | undefined {
    const evicted = this.#evicted;
    this.#evicted = undefined;
    return evicted;
  }

  trim({ trustedMs }: TrimNow, step: number): Trimmed {
    if (!this.full()) return NOTHING;
    // As many as there are too many, but no fewer than a record is worth.
    const excess = this.waiting().rows - this.#cap.rows;
    const run = this.#find(Math.max(this.#cap.least, Math.min(step, excess)));
    this.#stuckAt = run === undefined ? this.waiting().rows : undefined;
    if (run === undefined) return NOTHING;
    // Events that rows in front of the loss point to would hold all later ones in the store.
    const kept = this.#events.takeIn(run.head, run.rows[0]!.number - 1, step);
    if (kept > 0) return { touched: kept, more: true };
    this.#evict(run, Math.round(trustedMs));
    return { touched: run.rows.length, more: this.full() };
  }

  /** Of the lowest lane that has any, where a record takes less room than its rows. */
  #find(most: number): Run | undefined {
    for (const lane of ORDER) {
      for (const head of this.#parts.heads.all().filter((each) => each.lane === lane)) {
        const rows = this.#oldest(head, most);
        if (rows.length > 1) return { head, rows };
      }
    }
    return undefined;
  }

  /** Ordinary rows that follow each other, the oldest that may go. */
  #oldest({ lane, segment, acknowledged }: StreamHead, most: number): Row[] {
    const found = this.#database
      .query(
        `SELECT number, class, size FROM outbox
          WHERE lane = ? AND segment = ? AND number > ? AND class <> ${RECORD_CLASSES.loss} ORDER BY number LIMIT ?`,
      )
      .all(lane, segment, acknowledged + this.#cap.ahead, most) as Row[];
    const end = found.findIndex((row, index) => row.number !== found[0]!.number + index);
    return end < 0 ? found : found.slice(0, end);
  }

  #evict({ head, rows }: Run, atMs: number): void {
    const { heads, outbox, losses } = this.#parts;
    const first = rows[0]!.number;
    const last = rows.at(-1)!.number;
    const counts: Record<string, number> = {};
    let bytes = 0;
    for (const row of rows) {
      counts[row.class] = (counts[row.class] ?? 0) + 1;
      bytes += row.size;
    }
    const lastHash = outbox.hashOf(head, last);
    const loss: LossRecordBody = {
      ...{ first, last, counts },
      prevHash: Buffer.from(outbox.hashOf(head, first - 1)).toString("hex"),
      lastHash: Buffer.from(lastHash).toString("hex"),
      ...{ reason: "cap", atMs },
    };
    const body = JSON.stringify(loss);
    this.#delete(head.lane, head.segment, first, last);
    heads.insertLoss(head, last, lastHash, body);
    head.rows -= rows.length - 1;
    head.bytes -= bytes - body.length;
    heads.changed(head);
    losses.add(counts, "cap");
    this.#evicted = { lane: head.lane, counts };
  }
}
