import type { Database } from "bun:sqlite";
import {
  closeSync,
  existsSync,
  openSync,
  readFileSync,
  readSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { HoldfastError, messageOf } from "../../core/errors.ts";
import { openDatabase } from "../../storage/open-database.ts";
import { isDamage } from "../../storage/storage-error.ts";

const MAGIC = "SQLite format 3\0";
const HEADER_BYTES = 100;
/** Files up to this size are checked at every start (a few milliseconds), larger ones only after a crash. */
const ALWAYS_CHECKED_BYTES = 8 * 1024 * 1024;
/** Above this only the small tables are checked after a crash; the rest shows itself when it is read. Those with their indexes. */
const FULLY_CHECKED_BYTES = 24 * 1024 * 1024;
const SMALL_TABLES = [
  "meta",
  "streams",
  "settings",
  "checkpoints",
  "runs",
  "steps",
  "lock_places",
  "later_runs",
  "dead_letters",
];

/** More than these are not looked through at a start. */
const MANY_RUNS = 20_000;

/** A note beside the file that its bytes were found to be wrong while it was in use. */
function notePath(path: string): string {
  return `${path}-damaged`;
}

export function noteDamage(path: string, reason: string): void {
  try {
    writeFileSync(notePath(path), `${reason}\n`, { mode: 0o600 });
  } catch {
    // The disk may be what is broken. The damage is reported, and is found again when it is read again.
  }
}

export function forgetDamage(path: string): void {
  rmSync(notePath(path), { force: true });
}

/** Why the file cannot be used as it is, or null. A store that does not exist yet is sound. */
export function findDamage(path: string): string | null {
  if (existsSync(notePath(path)))
    return readFileSync(notePath(path), "utf8").trim() || "found damaged in use";
  const stat = statSync(path, { throwIfNoEntry: false });
  if (!stat) return null;
  if (!stat.isFile()) {
    const kind = stat.isDirectory() ? "a folder" : "not a regular file";
    throw new HoldfastError("invalid", `cannot open the store ${path}: it is ${kind}: move it away`);
  }
  const walBytes = statSync(`${path}-wal`, { throwIfNoEntry: false })?.size ?? 0;
  if (stat.size === 0) return walBytes === 0 ? null : "the file is empty, and its log is not";
  const header = readHeader(path);
  if (header.toString("latin1", 0, MAGIC.length) !== MAGIC) return "the file is not a database";
  if (walBytes > 0 || stat.size <= ALWAYS_CHECKED_BYTES) return quickCheck(path, stat.size);
  return truncation(header, stat.size);
}

export function readHeader(path: string): Buffer {
  const header = Buffer.alloc(HEADER_BYTES);
  const file = openSync(path, "r");
  try {
    readSync(file, header, 0, HEADER_BYTES, 0);
  } finally {
    closeSync(file);
  }
  return header;
}

export function pageSizeOf(header: Buffer): number {
  return header.readUInt16BE(16) === 1 ? 65_536 : header.readUInt16BE(16);
}

/** The header tells the number of pages; true of a file whose log has been taken in. */
export function truncation(header: Buffer, size: number): string | null {
  const expected = pageSizeOf(header) * header.readUInt32BE(28);
  return size < expected ? `the file is truncated: ${size} bytes of ${expected}` : null;
}

/** Those of the list that a store of this age has. */
function smallTables(database: Database): string[] {
  const rows = database.query("SELECT name FROM sqlite_schema WHERE type = 'table'").all();
  const names = new Set((rows as { name: string }[]).map((row) => row.name));
  const large = names.has("runs") && hasManyRuns(database) ? ["runs", "steps"] : [];
  return SMALL_TABLES.filter((name) => names.has(name) && !large.includes(name));
}

/** By their numbers, which takes two looks: nothing at start goes through a table that may be large. */
function hasManyRuns(database: Database): boolean {
  const row = database
    .query("SELECT (SELECT max(n) FROM runs) - (SELECT min(n) FROM runs) AS span")
    .get() as { span: number | null };
  return (row.span ?? 0) > MANY_RUNS;
}

/** Through a read-only connection, which leaves file and log as they are. */
function quickCheck(path: string, size: number): string | null {
  try {
    const database = openDatabase(path, { readonly: true });
    try {
      const whole = size <= FULLY_CHECKED_BYTES ? checked(database, "quick_check(1)") : null;
      return whole ?? checkedWithIndexes(database);
    } finally {
      database.close();
    }
  } catch (error) {
    if (isDamage(error)) return messageOf(error);
    // Another reason than damage: opening for writing meets it too, and tells it better.
    return null;
  }
}

/** A run that its index has lost would never be taken up, and a lock that is not found never be given back. */
function checkedWithIndexes(database: Database): string | null {
  for (const table of smallTables(database)) {
    const problem = checked(database, `integrity_check('${table}')`);
    if (problem !== null) return problem;
  }
  return null;
}

function checked(database: Database, pragma: string): string | null {
  const [said] = Object.values(database.query(`PRAGMA ${pragma}`).get() as Record<string, string>);
  return said === "ok" ? null : said!;
}
