import type { Database } from "bun:sqlite";
import { LANES } from "../../model/record.ts";
import type { WriteGate } from "../../storage/write-gate.ts";
import type { Retention } from "./commands.ts";
import type { EventRows } from "./event-rows.ts";
import type { KeyValues } from "./key-values.ts";
import type { StreamHead, StreamHeads } from "./stream-heads.ts";

/** Rows of a table that one step deletes: short enough that commits behind it do not notice. */
const STEP = 2000;
const RUN_STEP = 200;
/** Free pages that stay in the file for new rows, and how many a step gives back of the rest. */
const SPARE_PAGES = 4096;
const VACUUM_PAGES = 256;

/**
 * Bounds the store by count, in small steps. Never deletes a row that the hub has not acknowledged, nor an event that such
 * a row or an open run points to.
 */
export class History {
  readonly #database: Database;
  readonly #heads: StreamHeads;
  readonly #events: EventRows;
  readonly #values: KeyValues;
  readonly #retention: Retention;
  readonly #deleteOutbox;
  readonly #deleteEvents;
  readonly #deleteSteps;
  readonly #deleteAttempts;
  readonly #deleteRuns;
  readonly #deleteDefinitions;

  constructor(
    database: Database,
    gate: WriteGate,
    parts: { heads: StreamHeads; events: EventRows; values: KeyValues },
    retention: Retention,
  ) {
    this.#database = database;
    this.#heads = parts.heads;
    this.#events = parts.events;
    this.#values = parts.values;
    this.#retention = retention;
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
    const oldest = "(SELECT n FROM runs WHERE open = 0 ORDER BY n LIMIT ?)";
    this.#deleteSteps = prepare("steps.trim", `DELETE FROM steps WHERE run IN ${oldest}`);
    this.#deleteAttempts = prepare("attempts.trim", `DELETE FROM attempts WHERE run IN ${oldest}`);
    this.#deleteRuns = prepare("runs.trim", `DELETE FROM runs WHERE n IN ${oldest}`);
    this.#deleteDefinitions = prepare(
      "definitions.trim",
      "DELETE FROM definitions WHERE hash NOT IN (SELECT definition FROM runs)",
    );
  }

  /** One step; true when there is more to delete. */
  trim(): boolean {
    let more = false;
    for (const head of this.#heads.all()) more = this.#trimOutbox(head) || more;
    more = this.#trimEvents() || more;
    more = this.#trimRuns() || more;
    this.#giveBackPages();
    return more;
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
    this.#heads.changed(head);
    return to < target;
  }

  #trimEvents(): boolean {
    const count = this.#events.count();
    const excess = count - this.#retention.events;
    if (excess <= 0) return false;
    const last = this.#events.last();
    // The newest row stays whatever happens: numbers go on from it.
    const bound = Math.min(last - 1, this.#firstReferenced(last) - 1, this.#readByOutputs(count, last));
    const wanted = Math.min(excess, STEP);
    const deleted = this.#deleteEvents(bound, wanted);
    this.#events.removed(deleted);
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
    return this.#values.lowestCursor() ?? last;
  }

  #trimRuns(): boolean {
    const row = this.#database.query("SELECT count(*) AS count FROM runs WHERE open = 0").get();
    const excess = (row as { count: number }).count - this.#retention.endedRuns;
    if (excess <= 0) return false;
    const wanted = Math.min(excess, RUN_STEP);
    this.#deleteSteps(wanted);
    this.#deleteAttempts(wanted);
    this.#deleteRuns(wanted);
    this.#deleteDefinitions();
    return excess > wanted;
  }

  #giveBackPages(): void {
    const free = (this.#database.query("PRAGMA freelist_count").get() as { freelist_count: number })
      .freelist_count;
    if (free > SPARE_PAGES) this.#database.run(`PRAGMA incremental_vacuum(${VACUUM_PAGES})`);
  }
}
