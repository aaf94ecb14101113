import type { Database } from "bun:sqlite";
import type { Json } from "../../model/json.ts";
import type { SetParameter } from "../../model/shared-parameter.ts";
import type { WriteGate } from "../../storage/write-gate.ts";

/** No namespace is called so: of all. */
const GLOBAL = "";

/** Parameters that people have set on this agent. */
export class ParameterRows {
  readonly #database: Database;
  readonly #put;
  readonly #delete;

  constructor(database: Database, gate: WriteGate) {
    this.#database = database;
    this.#put = gate.prepare(
      database,
      "parameters.put",
      `INSERT INTO parameters (namespace, name, value, secret, changed_ms, changed_by) VALUES (?, ?, ?, ?, ?, ?)
        ON CONFLICT (namespace, name) DO UPDATE SET value = excluded.value, secret = excluded.secret,
          changed_ms = excluded.changed_ms, changed_by = excluded.changed_by`,
    );
    this.#delete = gate.prepare(
      database,
      "parameters.delete",
      "DELETE FROM parameters WHERE namespace = ? AND name = ?",
    );
  }

  put({ namespace, name, value, secret, changedMs, changedBy }: SetParameter): void {
    this.#put(namespace ?? GLOBAL, name, JSON.stringify(value), secret ? 1 : 0, changedMs, changedBy);
  }

  delete(namespace: string | null, name: string): boolean {
    return this.#delete(namespace ?? GLOBAL, name) > 0;
  }

  all(): SetParameter[] {
    return this.#database
      .query("SELECT * FROM parameters ORDER BY namespace, name")
      .all()
      .map((row) => parameterFromRow(row as ParameterRow));
  }
}

export interface ParameterRow {
  namespace: string;
  name: string;
  value: string;
  secret: number;
  changed_ms: number;
  changed_by: string;
}

export function parameterFromRow(row: ParameterRow): SetParameter {
  return {
    namespace: row.namespace === GLOBAL ? null : row.namespace,
    name: row.name,
    value: JSON.parse(row.value) as Json,
    secret: row.secret === 1,
    changedMs: row.changed_ms,
    changedBy: row.changed_by,
  };
}
