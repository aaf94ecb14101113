import type { Database } from "bun:sqlite";
import { LANES } from "../../model/record.ts";
import type { WriteGate } from "../../storage/write-gate.ts";
import type { Retention } from "./commands.ts";
import { RunHistory } from "./run-history.ts";
import type { StoreParts } from "./store-parts.ts";
import type { StreamHead } from "./stream-heads.ts";

/** Rows of a table that one step deletes: short enough that commits behind it do not notice. */
const STEP = 2000;
/** Free pages that stay in the file for new rows, and how many a step gives back of the rest. */
const SPARE_PAGES = 4096;
const VACUUM_PAGES = 256;

/**
 * Bounds the store by count, in small steps. Never deletes a row that the hub has not acknowledged, nor an event that such
 * a row or an open run points to.
 */
export class History {
  readonly #database: Database;
  readonly #parts: StoreParts;
  readonly #retention: Retention;
  readonly #runs: RunHistory;
  readonly #deleteOutbox;
  readonly #deleteEvents;

  constructor(database: Database, gate: WriteGate, parts: StoreParts, retention: Retention) {
    this.#database = database;
    this.#parts = parts;
    this.#retention = retention;
    this.#runs = new RunHistory(database, gate, parts);
    const prepare = (label: string, sql: string) => gate.prepare(database, label, sql);
    this.#deleteOutbox = prepare(
      "outbox.trim",
      "DELETE FROM outbox WHERE lane = ? AND segment = ? AND number <= ?",
    );
    this.#deleteEvents = prepare(
      "events.trim",
      `DELETE FROM events WHERE n IN (SELECT n FROM events WHERE n <= ? AND n NOT IN
        (SELECT event_n FROM runs WHERE open = 1 AND event_n IS NOT NULL) ORDER BY n LIMIT ?)`,
    );
  }

  load(): void {
    this.#runs.load();
  }

  /** One step; true when there is more to delete. */
  trim(): boolean {
    const { heads, dead, rules } = this.#parts;
    const { endedRuns, deadLetters, resolvedFindings } = this.#retention;
    heads.flushRows();
    const more = [
      ...heads.all().map((head) => this.#trimOutbox(head)),
      this.#trimEvents(),
      this.#runs.trim(endedRuns),
      dead.trim(deadLetters, STEP),
      rules.trim(resolvedFindings, STEP),
    ];
    this.#giveBackPages();
    return more.includes(true);
  }

  #trimOutbox(head: StreamHead): boolean {
    const target = head.acknowledged - this.#retention.acknowledgedRows;
    const to = Math.min(target, head.trimmed + STEP);
    if (to <= head.trimmed) return false;
    const row = this.#database
      .query("SELECT hash FROM outbox WHERE lane = ? AND segment = ? AND number = ?")
      .get(head.lane, head.segment, to) as { hash: Uint8Array } | null;
    if (!row) return false;
    this.#deleteOutbox(head.lane, head.segment, to);
    head.trimmed = to;
    head.trimmedHash = row.hash.slice();
    this.#parts.heads.changed(head);
    return to < target;
  }

  #trimEvents(): boolean {
    const count = this.#parts.events.count();
    const excess = count - this.#retention.events;
    if (excess <= 0) return false;
    const last = this.#parts.events.last();
    // The newest row stays whatever happens: numbers go on from it.
    const bound = Math.min(last - 1, this.#firstReferenced(last) - 1, this.#readByOutputs(count, last));
    const wanted = Math.min(excess, STEP);
    const deleted = this.#deleteEvents(bound, wanted);
    this.#parts.events.removed(deleted);
    return deleted === wanted && excess > wanted;
  }

  /** The oldest event that an outbox row points to. */
  #firstReferenced(last: number): number {
    const row = this.#database
      .query("SELECT event_n FROM outbox WHERE lane = ? ORDER BY lane, segment, number LIMIT 1")
      .get(LANES.events) as { event_n: number | null } | null;
    return row?.event_n ?? last + 1;
  }

  /** An output that has stood still for too long (or is gone from the configuration) no longer holds events back. */
  #readByOutputs(count: number, last: number): number {
    if (count > this.#retention.maxEvents) return last;
    return this.#parts.values.lowestCursor() ?? last;
  }

  #giveBackPages(): void {
    const free = (this.#database.query("PRAGMA freelist_count").get() as { freelist_count: number })
      .freelist_count;
    if (free > SPARE_PAGES) this.#database.run(`PRAGMA incremental_vacuum(${VACUUM_PAGES})`);
  }
}
