import type { Database, SQLQueryBindings, Statement } from "bun:sqlite";
import { runList, type WriteGate } from "./write-gate.ts";

/** Rows that one statement inserts: calls into SQLite cost more than the rows themselves. */
export const BULK_ROWS = 32;
/** A smaller statement for what is left: half of the rest goes with it, on average. */
const FEW_ROWS = 4;

type Params = SQLQueryBindings[];

/** Inserts rows of one shape, many with one statement. Fill `params` row by row, then `run` with the number of rows. */
export class BulkInsert {
  readonly params: Params = [];
  readonly #width: number;
  readonly #many: Statement;
  readonly #few: Statement;
  readonly #one: Statement;
  readonly #gate: WriteGate;
  readonly #label: string;

  /** `head` is the statement up to VALUES, `tuple` one row's placeholders. */
  constructor(database: Database, gate: WriteGate, label: string, head: string, tuple: string) {
    this.#width = tuple.split("?").length - 1;
    const rows = (count: number) =>
      gate.statement(database, `${head} VALUES ${Array(count).fill(tuple).join(",")}`);
    this.#many = rows(BULK_ROWS);
    this.#few = rows(FEW_ROWS);
    this.#one = rows(1);
    this.#gate = gate;
    this.#label = label;
    gate.note(label);
  }

  run(rows: number): void {
    this.#gate.before(this.#label);
    if (rows === BULK_ROWS) runList(this.#many, this.params);
    else this.#runRest(rows);
    this.#gate.after(this.#label);
  }

  #runRest(rows: number): void {
    let row = 0;
    for (; row + FEW_ROWS <= rows; row += FEW_ROWS) runList(this.#few, this.#rows(row, FEW_ROWS));
    for (; row < rows; row++) runList(this.#one, this.#rows(row, 1));
  }

  #rows(from: number, count: number): Params {
    return this.params.slice(from * this.#width, (from + count) * this.#width);
  }
}
