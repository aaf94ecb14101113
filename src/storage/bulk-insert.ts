import type { Database, SQLQueryBindings, Statement } from "bun:sqlite";
import type { WriteGate } from "./write-gate.ts";

/** Rows that one statement inserts: calls into SQLite cost more than the rows themselves. */
export const BULK_ROWS = 32;

type Params = SQLQueryBindings[];

/** Inserts rows of one shape, many with one statement. Fill `params` row by row, then `run` with the number of rows. */
export class BulkInsert {
  readonly params: Params = [];
  readonly #width: number;
  readonly #many: Statement;
  readonly #one: Statement;
  readonly #gate: WriteGate;
  readonly #label: string;

  /** `head` is the statement up to VALUES, `tuple` one row's placeholders. */
  constructor(database: Database, gate: WriteGate, label: string, head: string, tuple: string) {
    this.#width = tuple.split("?").length - 1;
    this.#many = gate.statement(database, `${head} VALUES ${Array(BULK_ROWS).fill(tuple).join(",")}`);
    this.#one = gate.statement(database, `${head} VALUES ${tuple}`);
    this.#gate = gate;
    this.#label = label;
  }

  run(rows: number): void {
    this.#gate.before(this.#label);
    // Bun binds an array as the list of parameters; its types know only the spread form, which is slower.
    if (rows === BULK_ROWS) runWith(this.#many, this.params);
    else
      for (let row = 0; row < rows; row++) {
        runWith(this.#one, this.params.slice(row * this.#width, (row + 1) * this.#width));
      }
    this.#gate.after(this.#label);
  }
}

function runWith(statement: Statement, params: Params): void {
  (statement.run as (params: Params) => unknown)(params);
}
