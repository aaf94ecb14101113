import type { Database } from "bun:sqlite";
import type { Json } from "../../model/json.ts";
import type { DeadLetter } from "../../model/run.ts";
import type { Cell, WriteGate } from "../../storage/write-gate.ts";
import type { KeyValues } from "./key-values.ts";
import { DEAD_LETTER_COLUMNS, deadLetterFromRow, type SqlRow } from "./run-columns.ts";

const DROPPED = "dead_letters_dropped";

/** Runs that ended badly, numbered in the order in which they came. */
export class DeadLetters {
  readonly #database: Database;
  readonly #values: KeyValues;
  readonly #put;
  readonly #edit;
  readonly #drop;
  readonly #trim;

  constructor(database: Database, gate: WriteGate, values: KeyValues) {
    this.#database = database;
    this.#values = values;
    const prepare = (label: string, sql: string) => gate.prepare(database, label, sql);
    this.#put = gate.prepareList(
      database,
      "dead_letters.put",
      `INSERT OR REPLACE INTO dead_letters (${DEAD_LETTER_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
    );
    this.#edit = prepare("dead_letters.edit", "UPDATE dead_letters SET params = ? WHERE run = ?");
    this.#drop = prepare("dead_letters.drop", "DELETE FROM dead_letters WHERE run = ?");
    this.#trim = prepare(
      "dead_letters.trim",
      "DELETE FROM dead_letters WHERE n IN (SELECT n FROM dead_letters ORDER BY n LIMIT ?)",
    );
  }

  put(cells: Cell[]): void {
    this.#put(cells);
  }

  edit(runId: string, params: Json): boolean {
    return this.#edit(JSON.stringify(params), runId) > 0;
  }

  drop(runId: string): boolean {
    return this.#drop(runId) > 0;
  }

  has(runId: string): boolean {
    return this.#database.query("SELECT 1 FROM dead_letters WHERE run = ?").get(runId) !== null;
  }

  get(runId: string): DeadLetter | null {
    const row = this.#database.query("SELECT * FROM dead_letters WHERE run = ?").get(runId) as SqlRow | null;
    return row && deadLetterFromRow(row);
  }

  /** The newest first. */
  list(limit: number, before: number | null): (DeadLetter & { number: number })[] {
    const rows = this.#database
      .query("SELECT * FROM dead_letters WHERE n < ? ORDER BY n DESC LIMIT ?")
      .all(before ?? Number.MAX_SAFE_INTEGER, limit) as SqlRow[];
    return rows.map((row) => ({ number: row.n as number, ...deadLetterFromRow(row) }));
  }

  count(): number {
    return (this.#database.query("SELECT count(*) AS count FROM dead_letters").get() as { count: number })
      .count;
  }

  /** How many had to go because there were too many, since the store began. */
  dropped(): number {
    return (this.#values.meta(DROPPED) as number | undefined) ?? 0;
  }

  /** Drops the oldest beyond `keep`, at most `step` of them; true when there are more. */
  trim(keep: number, step: number): boolean {
    const excess = this.count() - keep;
    if (excess <= 0) return false;
    const dropped = this.#trim(Math.min(excess, step));
    this.#values.setMeta(DROPPED, this.dropped() + dropped);
    return excess > step;
  }
}
