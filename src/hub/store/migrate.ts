import { HoldfastError } from "../../core/errors.ts";
import type { Queries } from "./database.ts";
import { SQLITE_TYPES, type Types } from "./column-types.ts";
import { first } from "./migrations/0001-first.ts";
import { runDetails } from "./migrations/0002-run-details.ts";
import { losses } from "./migrations/0003-losses.ts";
import { receiptCertificates } from "./migrations/0004-receipt-certificates.ts";

/** Append-only: place in the list + 1 is the version. */
const MIGRATIONS: ((types: Types) => string[])[] = [first, runDetails, losses, receiptCertificates];

export const SCHEMA_VERSION: number = MIGRATIONS.length;

/** Brings the schema up to date inside the caller's transaction; a newer one is refused. */
export async function migrate(tx: Queries, file: string): Promise<void> {
  await tx.run("CREATE TABLE IF NOT EXISTS schema_version (version INTEGER NOT NULL)");
  const [row] = await tx.all("SELECT version FROM schema_version");
  const version = Number(row?.version ?? 0);
  if (version > SCHEMA_VERSION) {
    throw new HoldfastError(
      "failed",
      `The hub's database ${file} has schema version ${version}, this executable knows ${SCHEMA_VERSION} at most: ` +
        "a newer Holdfast wrote it. Run that version, or restore a backup made before the upgrade",
    );
  }
  for (const statements of MIGRATIONS.slice(version)) {
    for (const statement of statements(SQLITE_TYPES)) await tx.run(statement);
  }
  if (!row) await tx.run("INSERT INTO schema_version VALUES (?)", [SCHEMA_VERSION]);
  else if (version < SCHEMA_VERSION) await tx.run("UPDATE schema_version SET version = ?", [SCHEMA_VERSION]);
}
