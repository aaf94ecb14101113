import type { Database } from "bun:sqlite";
import { accessSync, constants, mkdirSync } from "node:fs";
import { dirname } from "node:path";
import { HoldfastError, messageOf, systemCode } from "../../core/errors.ts";
import { migrate, schemaVersion } from "../../storage/migrations.ts";
import { openDatabase, transaction } from "../../storage/open-database.ts";
import { isDamage } from "../../storage/storage-error.ts";
import type { WriteGate } from "../../storage/write-gate.ts";
import type { OpenCommand } from "./commands.ts";
import { findDamage } from "./damage.ts";
import { AGENT_APPLICATION_ID, AGENT_MIGRATIONS } from "./migrations/migrations.ts";
import type { StoreFacts } from "./port.ts";
import { salvage } from "./salvage.ts";
import { finishSetAside, setAside } from "./set-aside.ts";
import { createStore, loadParts, type StoreParts, storeParts } from "./store-parts.ts";

export interface OpenedStore {
  database: Database;
  parts: StoreParts;
  salvage: StoreFacts["salvage"];
}

/** Opens the agent's store; a damaged file is set aside and what can be read of it goes into a new one. */
export function openAgentDatabase(command: OpenCommand, gate: WriteGate): OpenedStore {
  const { path } = command;
  checkAccess(path);
  const finished = finishSetAside(path);
  let damage = finished ? null : findDamage(path);
  if (damage === null) {
    try {
      return { ...openSound(command, gate), salvage: finished };
    } catch (error) {
      if (!isDamage(error)) throw error;
      damage = messageOf(error);
    }
  }
  const reason = damage;
  const facts = setAside(path, reason, command.nowMs, (fresh, movedTo) =>
    salvage({ damaged: path, fresh, movedTo, reason, command, gate }),
  );
  return { ...openSound(command, gate), salvage: facts };
}

function openSound(command: OpenCommand, gate: WriteGate): { database: Database; parts: StoreParts } {
  const database = openDatabase(command.path);
  try {
    checkOwner(database);
    const { from } = migrate(database, AGENT_MIGRATIONS, command.path);
    const parts = storeParts(database, gate);
    parts.time.trustedMs = command.trustedMs;
    // A crash between the first migration and the first rows leaves tables without an epoch, and nothing else.
    if (from === 0 || isBlank(database)) {
      const created = { epoch: command.newEpoch, reason: "created", nowMs: command.nowMs };
      transaction(database, () => createStore(database, parts, created));
    }
    loadParts(parts);
    return { database, parts };
  } catch (error) {
    gate.close();
    database.close();
    throw error;
  }
}

function isBlank(database: Database): boolean {
  const row = database
    .query(
      "SELECT (SELECT count(*) FROM meta WHERE key NOT IN ('deleted_events', 'deleted_runs')) + (SELECT count(*) FROM epochs) AS rows",
    )
    .get() as { rows: number };
  return row.rows === 0;
}

function checkOwner(database: Database): void {
  const { application_id: owner } = database.query("PRAGMA application_id").get() as {
    application_id: number;
  };
  const tables = database.query("SELECT count(*) AS count FROM sqlite_schema").get() as { count: number };
  const version = schemaVersion(database);
  if ((version === 0 && tables.count === 0) || (version > 0 && owner === AGENT_APPLICATION_ID)) return;
  throw new HoldfastError("corrupt", "the file is a database, but not an agent's store");
}

/** SQLite would open a file that it may not write, and fail only at the first commit. */
function checkAccess(path: string): void {
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o750 });
    accessSync(dirname(path), constants.W_OK);
    accessSync(path, constants.R_OK | constants.W_OK);
  } catch (error) {
    if (systemCode(error) === "ENOENT") return;
    const message = `cannot open the store ${path}: ${messageOf(error)}: make the file and its folder readable and writable for this user`;
    throw new HoldfastError("denied", message, { cause: error });
  }
}
