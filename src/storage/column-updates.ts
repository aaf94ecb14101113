import type { Database } from "bun:sqlite";
import { type Cell, runList, type WriteGate } from "./write-gate.ts";

/** A column that an update may set, by the field that carries its value. */
export interface ColumnOf<Row> {
  field: keyof Row;
  column: string;
  /** The value is stored as JSON text. */
  json?: true;
}

/** Fields that are set, as bits in the order of the columns, then their values. */
export type PackedUpdate = [set: number, ...values: Cell[]];

/** What of a row is to be set: fields that are undefined stay as they are. */
export function packUpdate<Row>(columns: readonly ColumnOf<Row>[], row: Partial<Row>): PackedUpdate {
  const packed: PackedUpdate = [0];
  let set = 0;
  for (let i = 0; i < columns.length; i++) {
    const { field, json } = columns[i]!;
    const value = row[field];
    if (value === undefined) continue;
    set |= 1 << i;
    packed.push(json && value !== null ? JSON.stringify(value) : (value as Cell));
  }
  packed[0] = set;
  return packed;
}

/** UPDATE statements of one table, one for each set of columns that is ever set together. */
export class ColumnUpdates {
  readonly #database: Database;
  readonly #gate: WriteGate;
  readonly #label: string;
  readonly #columns: readonly { column: string }[];
  readonly #table: string;
  readonly #where: string;
  readonly #statements = new Map<number, ReturnType<WriteGate["statement"]>>();

  constructor(
    database: Database,
    gate: WriteGate,
    label: string,
    options: { table: string; columns: readonly { column: string }[]; where: string },
  ) {
    this.#database = database;
    this.#gate = gate;
    this.#label = label;
    this.#columns = options.columns;
    this.#table = options.table;
    this.#where = options.where;
    gate.note(label);
  }

  /** `key` is what the condition asks for. Returns the rows changed. */
  run([set, ...values]: PackedUpdate, key: Cell[]): number {
    this.#gate.before(this.#label);
    for (const cell of key) values.push(cell);
    const { changes } = runList(this.#statement(set), values);
    this.#gate.after(this.#label);
    return changes;
  }

  #statement(set: number): ReturnType<WriteGate["statement"]> {
    let statement = this.#statements.get(set);
    if (statement === undefined) {
      const columns = this.#columns.filter((_, i) => (set & (1 << i)) !== 0);
      const list = columns.map(({ column }) => `${column} = ?`).join(", ");
      statement = this.#gate.statement(
        this.#database,
        `UPDATE ${this.#table} SET ${list} WHERE ${this.#where}`,
      );
      this.#statements.set(set, statement);
    }
    return statement;
  }
}
