import type { Database } from "bun:sqlite";
import type { WriteGate } from "../../storage/write-gate.ts";

/** Tables whose rows are numbered in the order in which they came. */
const MARKED = ["events", "runs"] as const;
export type MarkedTable = (typeof MARKED)[number];

const HOUR_MS = 3_600_000;
const SECOND_MS = 1000;
/** Marks in the time that rows are kept. */
const MARKS = 1000;

interface Mark {
  n: number;
  ms: number;
}

/**
 * How old rows are, by trusted time and without an index over all of them: now and then it is written down which number
 * was the last. A row came no later than the first mark that has its number or a higher one.
 */
export class HistoryMarks {
  readonly #database: Database;
  readonly #put;
  readonly #forget;
  readonly #correct;
  readonly #last = new Map<MarkedTable, Mark>();

  constructor(database: Database, gate: WriteGate) {
    this.#database = database;
    const prepare = (label: string, sql: string) => gate.prepare(database, label, sql);
    this.#put = prepare("history_marks.put", "INSERT OR REPLACE INTO history_marks VALUES (?, ?, ?)");
    this.#forget = prepare("history_marks.forget", "DELETE FROM history_marks WHERE name = ? AND n < ?");
    this.#correct = prepare(
      "history_marks.correct",
      "UPDATE history_marks SET trusted_ms = ?1 WHERE trusted_ms > ?1",
    );
  }

  load(): void {
    this.#last.clear();
  }

  /** What is here came by now at the latest: true also after trusted time was found to be ahead, and set right. */
  correct(trustedMs: number): void {
    if (MARKED.every((table) => (this.#lastOf(table)?.ms ?? 0) <= trustedMs)) return;
    this.#correct(trustedMs);
    this.#last.clear();
  }

  /** Writes down that the last number is `n`, unless that was done a short time ago. */
  note(table: MarkedTable, n: number, trustedMs: number, ageMs: number): void {
    const last = this.#lastOf(table);
    const between = Math.min(HOUR_MS, Math.max(SECOND_MS, ageMs / MARKS));
    if (n <= (last?.n ?? 0) || (last && trustedMs - last.ms < between)) return;
    this.#put(table, n, trustedMs);
    this.#last.set(table, { n, ms: trustedMs });
  }

  /** The highest number of which it is known that it came before `ms`; 0 when there is none. */
  before(table: MarkedTable, ms: number): number {
    const row = this.#database
      .query("SELECT max(n) AS n FROM history_marks WHERE name = ? AND trusted_ms < ?")
      .get(table, ms);
    return (row as { n: number | null }).n ?? 0;
  }

  /** Marks below the oldest row say nothing any more. */
  forget(): void {
    for (const table of MARKED) {
      const row = this.#database
        .query(
          `SELECT n FROM (SELECT n FROM ${table} ORDER BY n LIMIT 1)
            WHERE n > (SELECT n FROM history_marks WHERE name = ? ORDER BY n LIMIT 1)`,
        )
        .get(table) as { n: number } | null;
      if (row) this.#forget(table, row.n);
    }
  }

  #lastOf(table: MarkedTable): Mark | undefined {
    const known = this.#last.get(table);
    if (known) return known;
    const row = this.#database
      .query("SELECT n, trusted_ms AS ms FROM history_marks WHERE name = ? ORDER BY n DESC LIMIT 1")
      .get(table) as Mark | null;
    if (row) this.#last.set(table, row);
    return row ?? undefined;
  }
}
