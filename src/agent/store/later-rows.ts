import type { Database } from "bun:sqlite";
import type { LaterEnd, LaterRun } from "../../model/schedule-later.ts";
import type { WriteGate } from "../../storage/write-gate.ts";
import { fromJson, type SqlRow } from "./run-columns.ts";

/** Ended ones that are kept, so that what the same step asks for again is known. */
const KEPT = 10_000;

/** Runs that actions have put off. */
export class LaterRows {
  readonly #database: Database;
  readonly #insert;
  readonly #end;
  readonly #trim;

  constructor(database: Database, gate: WriteGate) {
    this.#database = database;
    this.#insert = gate.prepareList(
      database,
      "later_runs.insert",
      `INSERT INTO later_runs (id, key, pipeline, params, due_ms, by_wall, plugin, run, step, rule, cause, hops,
        created_ms, state) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'waiting') ON CONFLICT DO NOTHING`,
    );
    this.#end = gate.prepare(
      database,
      "later_runs.end",
      "UPDATE later_runs SET state = ?, params = 'null' WHERE id = ? AND state = 'waiting'",
    );
    this.#trim = gate.prepare(
      database,
      "later_runs.trim",
      `DELETE FROM later_runs WHERE n <= ? AND state <> 'waiting'`,
    );
  }

  /** Nothing changes when one with this key is or was there. */
  insert(row: LaterRun): void {
    const { id, key, pipeline, params, dueMs, byWall, plugin, run, step, rule, cause, hops, createdMs } = row;
    this.#insert([
      ...[id, key, pipeline, JSON.stringify(params), dueMs, byWall ? 1 : 0],
      ...[plugin, run, step, rule, cause, hops, createdMs],
    ]);
  }

  /** False when it had ended already. */
  end(id: string, state: LaterEnd): boolean {
    if (this.#end(state, id) === 0) return false;
    const last = this.#database.query("SELECT max(n) AS n FROM later_runs").get() as { n: number };
    this.#trim(last.n - KEPT);
    return true;
  }

  /** In the order in which they were asked for; of certain keys or all. */
  waiting(keys: string[] | null): LaterRun[] {
    const all = "SELECT * FROM later_runs WHERE state = 'waiting'";
    const rows =
      keys === null
        ? this.#database.query(`${all} ORDER BY n`).all()
        : this.#database
            .query(`${all} AND key IN (SELECT value FROM json_each(?)) ORDER BY n`)
            .all(JSON.stringify(keys));
    return (rows as SqlRow[]).map(laterFromRow);
  }
}

export function laterFromRow(row: SqlRow): LaterRun {
  return {
    id: row.id as string,
    key: row.key as string,
    pipeline: row.pipeline as string,
    params: fromJson(row.params),
    dueMs: row.due_ms as number,
    byWall: row.by_wall === 1,
    plugin: row.plugin as string,
    run: row.run as string,
    step: row.step as string,
    rule: row.rule as string | null,
    cause: row.cause as string | null,
    hops: row.hops as number,
    createdMs: row.created_ms as number,
  };
}
