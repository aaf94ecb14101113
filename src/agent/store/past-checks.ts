import type { Database } from "bun:sqlite";
import { accessSync, constants, existsSync, statSync } from "node:fs";
import { HoldfastError, messageOf, systemCode } from "../../core/errors.ts";
import { VERSION } from "../../core/version.ts";
import { schemaVersion } from "../../storage/migrations.ts";
import { AGENT_APPLICATION_ID, AGENT_MIGRATIONS } from "./migrations/migrations.ts";

/** The first schema with all the tables that are read here. */
const OLDEST_SCHEMA = 4;

/** Throws `not_found`, `denied`, or `invalid` for what is no file. */
export function checkReadable(path: string): void {
  try {
    const stat = statSync(path);
    if (!stat.isFile()) throw new HoldfastError("invalid", `cannot read the store ${path}: it is no file`);
    if (stat.size === 0) throw new HoldfastError("invalid", `cannot read the store ${path}: it is empty`);
    accessSync(path, constants.R_OK);
  } catch (error) {
    if (error instanceof HoldfastError) throw error;
    if (systemCode(error) === "ENOENT") {
      throw new HoldfastError("not_found", `there is no store ${path}: an agent makes it when it first runs`);
    }
    const message = `cannot read the store ${path}: ${messageOf(error)}: ask as root or as the agent's user`;
    throw new HoldfastError("denied", message, { cause: error });
  }
}

/** Throws `invalid` for what is no store of an agent, or one of another release. */
export function checkSchema(database: Database, path: string): void {
  const { application_id: owner } = database.query("PRAGMA application_id").get() as {
    application_id: number;
  };
  if (owner !== AGENT_APPLICATION_ID)
    throw new HoldfastError("invalid", `${path} is a database, but not an agent's store`);
  const found = schemaVersion(database);
  const known = AGENT_MIGRATIONS.at(-1)!.version;
  if (found > known) {
    throw new HoldfastError(
      "invalid",
      `${path} has schema version ${found}, and this executable (${VERSION}) knows versions up to ${known}: use a newer executable`,
      { details: { found, known } },
    );
  }
  if (found >= OLDEST_SCHEMA) return;
  throw new HoldfastError(
    "invalid",
    `${path} has schema version ${found}, of an older release: start its agent with this executable once, which brings it up to date`,
    { details: { found, known } },
  );
}

/** True while somebody has the store open, and after a crash. */
export function hasLog(path: string): boolean {
  return existsSync(`${path}-wal`);
}
