import type { Database } from "bun:sqlite";
import { wholeBody } from "./envelope.ts";
import type { NewEvent } from "./event-rows.ts";
import { readableRows } from "./readable-rows.ts";
import type { SqlRow } from "./run-columns.ts";

/** What was saved of a damaged store, and what is known to be lost. */
export interface SalvageCounts extends Record<string, number> {
  settings: number;
  schedules: number;
  laterRuns: number;
  ruleStates: number;
  windowEntries: number;
  findings: number;
  deadLetters: number;
  memory: number;
  parameters: number;
  secrets: number;
  silences: number;
  receipts: number;
  outbox: number;
  outboxLost: number;
  runs: number;
  runsLost: number;
}

/** Bytes of a row of the outbox: its hash, its key and the lengths of its cells. */
const SMALLEST_ROW = 40;

/** A damaged store: any read may throw, and only some of its rows can be had. Its schema may be an old one. */
export class SalvageSource {
  readonly database: Database;

  constructor(database: Database) {
    this.database = database;
  }

  /** How many rows of the outbox the file has room for, at most. */
  roomForRows(): number {
    const bytes = quietly(() =>
      this.database
        .query("SELECT page_count * page_size AS bytes FROM pragma_page_count, pragma_page_size")
        .get(),
    ) as { bytes: number } | undefined;
    return Math.floor((bytes?.bytes ?? 0) / SMALLEST_ROW);
  }

  /** Rows of a small table by rowid, around what cannot be read; none when the table is not there. */
  table(table: string): Iterable<SqlRow> {
    return this.rows(`SELECT rowid AS at, * FROM ${table} WHERE rowid > ? ORDER BY rowid LIMIT ?`);
  }

  /** `sql` takes the key to go on after and a limit, and gives the key as `at`. */
  rows(sql: string): Iterable<SqlRow> {
    return readableRows((after, limit) => this.database.query(sql).all(after, limit) as SqlRow[]);
  }

  event(n: number): NewEvent | undefined {
    const row = quietly(() =>
      this.database
        .query(
          `SELECT sources.name AS source, events.id, events.type, events.time_ms, events.body
            FROM events JOIN sources ON sources.n = events.source WHERE events.n = ?`,
        )
        .get(n),
    ) as { source: string; id: string; type: string; time_ms: number; body: string } | null | undefined;
    if (!row) return undefined;
    const { source, id, type } = row;
    return { source, id, type, timeMs: row.time_ms, body: wholeBody(source, id, type, row.body) };
  }
}

/** What cannot be read is undefined. */
export function quietly<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}

/** False when it could not be done, for want of readable or sensible rows. */
export function attempted(work: () => void): boolean {
  try {
    work();
    return true;
  } catch {
    return false;
  }
}
