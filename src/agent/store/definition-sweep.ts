import type { Database } from "bun:sqlite";
import type { DefinitionRows } from "./definition-rows.ts";
import type { Trimmed, TrimNow } from "./trim-step.ts";

const HOUR_MS = 3_600_000;

/** A rule's text goes with the last configuration that names it. */
const OF_CONFIGS = `SELECT DISTINCT rule.value AS hash FROM definitions, json_each(definitions.body, '$.rules') AS rule
  WHERE definitions.hash IN (SELECT value FROM json_each(?))`;

/**
 * Deletes texts that no run and no attempt goes back to, and nobody has sent since the start. Which those are is seen by
 * looking through all runs, some at a time; so not after each trimming.
 */
export class DefinitionSweep {
  readonly #database: Database;
  readonly #definitions: DefinitionRows;
  /** Runs up to this number were looked at; undefined when nothing is under way. */
  #from: number | undefined;
  readonly #used = new Set<string>();
  #wanted = false;
  #againMs = 0;

  constructor(database: Database, definitions: DefinitionRows) {
    this.#database = database;
    this.#definitions = definitions;
  }

  /** After a roll-back it begins anew. */
  load(): void {
    this.#from = undefined;
  }

  /** Runs were deleted. */
  want(): void {
    this.#wanted = true;
  }

  trim({ monoMs }: TrimNow, rows: number): Trimmed {
    if (this.#from === undefined) {
      // Most often there is none: then the runs need not be looked through.
      if (!this.#wanted || monoMs < this.#againMs || this.#definitions.old().length === 0)
        return { touched: 0, more: false };
      this.#from = 0;
      this.#used.clear();
    }
    const looked = this.#look(this.#from, rows);
    if (looked === rows) return { touched: looked, more: true };
    this.#forget();
    this.#from = undefined;
    this.#wanted = false;
    this.#againMs = monoMs + HOUR_MS;
    return { touched: looked, more: false };
  }

  /** Runs that begin meanwhile need not be seen: what they go back to was sent since the start. */
  #look(from: number, limit: number): number {
    const runs = this.#database
      .query("SELECT n, definition, config FROM runs WHERE n > ? ORDER BY n LIMIT ?")
      .all(from, limit) as { n: number; definition: string; config: string | null }[];
    const to = runs.at(-1)?.n ?? from;
    const workers = this.#database
      .query("SELECT DISTINCT worker FROM attempts WHERE run > ? AND run <= ? AND worker IS NOT NULL")
      .all(from, to) as { worker: string }[];
    for (const { definition, config } of runs) this.#used.add(definition).add(config ?? definition);
    for (const { worker } of workers) this.#used.add(worker);
    this.#from = to;
    return runs.length;
  }

  #forget(): void {
    const rules = this.#database.query(OF_CONFIGS).all(JSON.stringify([...this.#used])) as { hash: string }[];
    for (const { hash } of rules) this.#used.add(hash);
    for (const hash of this.#definitions.old()) if (!this.#used.has(hash)) this.#definitions.delete(hash);
  }
}
