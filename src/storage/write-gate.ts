import type { Database, SQLQueryBindings, Statement } from "bun:sqlite";
import type { Faults } from "./faults.ts";

/**
 * Every write passes here under its label, so that a test can fail it or crash at it. One gate for one open database: it
 * also knows the statements that must be finalized, because SQLite closes a file only after the last of them.
 */
export class WriteGate {
  readonly #faults: Faults | undefined;
  readonly #statements: Statement[] = [];

  constructor(faults: Faults | undefined) {
    this.#faults = faults;
  }

  before(label: string): void {
    this.#faults?.hit(label, "before");
  }

  after(label: string): void {
    this.#faults?.hit(label, "after");
  }

  /** A prepared write with its label. The function returns the number of rows changed. */
  prepare(database: Database, label: string, sql: string): (...params: SQLQueryBindings[]) => number {
    const statement = this.statement(database, sql);
    return (...params) => {
      this.before(label);
      const { changes } = statement.run(...params);
      this.after(label);
      return changes;
    };
  }

  /** A statement that is finalized with the gate; the caller sees to its label. */
  statement(database: Database, sql: string): Statement {
    const statement = database.prepare(sql);
    this.#statements.push(statement);
    return statement;
  }

  close(): void {
    for (const statement of this.#statements.splice(0)) statement.finalize();
  }
}
