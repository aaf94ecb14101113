import type { Database } from "bun:sqlite";
import type { Json } from "../../model/json.ts";
import type { DeadLetter } from "../../model/run.ts";
import type { Cell, WriteGate } from "../../storage/write-gate.ts";
import type { KeyValues } from "./key-values.ts";
import { DEAD_LETTER_COLUMNS, deadLetterFromRow, type SqlRow } from "./run-columns.ts";
import type { StoreTime } from "./store-time.ts";

const DROPPED = "dead_letters_dropped";

/** Runs that ended badly, numbered in the order in which they came. */
export class DeadLetters {
  readonly #database: Database;
  readonly #values: KeyValues;
  readonly #put;
  readonly #edit;
  readonly #drop;
  readonly #trim;
  readonly #time: StoreTime;
  #count: number | undefined;

  constructor(database: Database, gate: WriteGate, values: KeyValues, time: StoreTime) {
    this.#database = database;
    this.#values = values;
    this.#time = time;
    const prepare = (label: string, sql: string) => gate.prepare(database, label, sql);
    this.#put = gate.prepareList(
      database,
      "dead_letters.put",
      `INSERT OR REPLACE INTO dead_letters (${DEAD_LETTER_COLUMNS}, kept_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
    );
    this.#edit = prepare("dead_letters.edit", "UPDATE dead_letters SET params = ? WHERE run = ?");
    this.#drop = prepare("dead_letters.drop", "DELETE FROM dead_letters WHERE run = ?");
    this.#trim = prepare(
      "dead_letters.trim",
      "DELETE FROM dead_letters WHERE n IN (SELECT n FROM dead_letters ORDER BY n LIMIT ?)",
    );
  }

  /** After a roll-back the rows are counted again. */
  load(): void {
    this.#count = undefined;
  }

  put(cells: Cell[]): void {
    this.#put([...cells, this.#time.trustedMs]);
    this.#count = undefined;
  }

  edit(runId: string, params: Json): boolean {
    return this.#edit(JSON.stringify(params), runId) > 0;
  }

  drop(runId: string): boolean {
    this.#count = undefined;
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
    const query = this.#database.query("SELECT count(*) AS count FROM dead_letters");
    this.#count ??= (query.get() as { count: number }).count;
    return this.#count;
  }

  /** When the oldest one came, by the host's clock. */
  oldestMs(): number | null {
    const row = this.#database.query("SELECT created_ms AS ms FROM dead_letters ORDER BY n LIMIT 1").get();
    return (row as { ms: number } | null)?.ms ?? null;
  }

  /** How many of the oldest came before `ms` of trusted time, as far as `limit`. */
  aged(ms: number, limit: number): number {
    const rows = this.#database.query("SELECT kept_ms FROM dead_letters ORDER BY n LIMIT ?").all(limit) as {
      kept_ms: number;
    }[];
    const young = rows.findIndex(({ kept_ms }) => kept_ms >= ms);
    return young < 0 ? rows.length : young;
  }

  /** How many had to go because they were too many or too old, since the store began. */
  dropped(): number {
    return (this.#values.meta(DROPPED) as number | undefined) ?? 0;
  }

  /** Drops the oldest; gives how many. */
  trim(rows: number): number {
    const dropped = this.#trim(rows);
    this.#values.setMeta(DROPPED, this.dropped() + dropped);
    this.#count = undefined;
    return dropped;
  }
}
