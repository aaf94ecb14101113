import type { Database } from "bun:sqlite";
import { HoldfastError } from "../core/errors.ts";
import { VERSION } from "../core/version.ts";
import { transaction } from "./open-database.ts";

/** A step of the schema. Append-only: a released one is never changed. Versions go 1, 2, 3 … */
export interface Migration {
  version: number;
  name: string;
  sql: string;
}

export function schemaVersion(database: Database): number {
  return (database.query("PRAGMA user_version").get() as { user_version: number }).user_version;
}

/**
 * Brings the schema up to the last migration, each in a transaction of its own. Refuses a schema that is newer than this
 * executable. `what` names the file for messages. Resolves with the version before and after.
 */
export function migrate(
  database: Database,
  migrations: Migration[],
  what: string,
): { from: number; to: number } {
  const from = schemaVersion(database);
  const to = migrations.at(-1)?.version ?? 0;
  if (from > to) {
    throw new HoldfastError(
      "invalid",
      `${what} has schema version ${from}, and this executable (${VERSION}) knows versions up to ${to}: use a newer executable`,
      { details: { found: from, known: to } },
    );
  }
  for (const migration of migrations) {
    if (migration.version <= from) continue;
    transaction(database, () => {
      database.run(migration.sql);
      database.run(`PRAGMA user_version = ${migration.version}`);
    });
  }
  return { from, to };
}

/** The schema as SQL text, in the order of creation, for the committed snapshot. */
export function schemaText(database: Database): string {
  const rows = database.query("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY rowid").all() as {
    sql: string;
  }[];
  return `${rows.map((row) => `${row.sql};`).join("\n\n")}\n`;
}
