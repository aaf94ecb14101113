import type { Database, SQLQueryBindings, Statement } from "bun:sqlite";
import type { Faults } from "./faults.ts";

/** What a column takes, as it crosses to the storage thread. */
export type Cell = string | number | null;

/**
 * Every write passes here under its label, so that a test can fail it or crash at it. One gate for one open database: it
 * also knows the statements that must be finalized, because SQLite closes a file only after the last of them.
 */
export class WriteGate {
  readonly #faults: Faults | undefined;
  readonly #statements: Statement[] = [];
  readonly #labels = new Set<string>();

  constructor(faults: Faults | undefined) {
    this.#faults = faults;
  }

  /** Labels of the writes that were prepared here. */
  get labels(): string[] {
    return [...this.#labels];
  }

  before(label: string): void {
    this.#faults?.hit(label, "before");
  }

  after(label: string): void {
    this.#faults?.hit(label, "after");
  }

  /** A prepared write with its label. The function returns the number of rows changed. */
  prepare(database: Database, label: string, sql: string): (...params: SQLQueryBindings[]) => number {
    const write = this.prepareList(database, label, sql);
    return (...params) => write(params);
  }

  /** The same for parameters that are a list already: spreading one costs more than binding it. */
  prepareList(database: Database, label: string, sql: string): (params: SQLQueryBindings[]) => number {
    const statement = this.statement(database, sql);
    this.note(label);
    return (params) => {
      this.before(label);
      const { changes } = runList(statement, params);
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

  /** Takes note of a label whose writes the caller passes through `before` and `after` itself. */
  note(label: string): void {
    this.#labels.add(label);
  }

  close(): void {
    for (const statement of this.#statements.splice(0)) statement.finalize();
  }
}

/** Bun binds an array as the list of parameters; its types know only the spread form. */
export function runList(statement: Statement, params: SQLQueryBindings[]): { changes: number } {
  return (statement.run as (params: SQLQueryBindings[]) => { changes: number })(params);
}
