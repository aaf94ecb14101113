import { constants, Database } from "bun:sqlite";
import { pathToFileURL } from "node:url";
import { storageError } from "./storage-error.ts";

export interface OpenOptions {
  /** Reads only, and creates nothing. */
  readonly?: boolean;
  /** With `readonly`, where nobody writes: no lock is taken, and no file of a log is made beside it. */
  still?: boolean;
  /** Memory for pages, in KiB. */
  cacheKib?: number;
}

/** Pages in the write-ahead log from which on a storage thread moves them into the file, once it has answered. */
export const CHECKPOINT_PAGES = 4000;
/** From here on a commit moves them itself: no thread has, or one transaction was that large. */
const COMMIT_CHECKPOINT_PAGES = 2 * CHECKPOINT_PAGES;
/** A log that grew in a long transaction is cut back to this once its pages are in the file. */
const MAX_IDLE_LOG_BYTES = 4 * CHECKPOINT_PAGES * 4096;

/**
 * Opens an SQLite file the one way that the product uses: write-ahead log, `synchronous=FULL` (a commit that was answered
 * survives a power cut), free pages given back in steps. Throws HoldfastError.
 */
export function openDatabase(path: string, options: OpenOptions = {}): Database {
  let database: Database | undefined;
  try {
    database = options.readonly
      ? openReadonly(path, options.still === true)
      : new Database(path, { create: true, readwrite: true });
    database.run("PRAGMA busy_timeout = 5000");
    database.run(`PRAGMA cache_size = -${options.cacheKib ?? 8192}`);
    database.run("PRAGMA temp_store = MEMORY");
    if (!options.readonly) prepareForWriting(database);
    return database;
  } catch (error) {
    database?.close();
    throw storageError(error, `cannot open the database ${path}`);
  }
}

function openReadonly(path: string, still: boolean): Database {
  if (!still) return new Database(path, { readonly: true });
  const flags = constants.SQLITE_OPEN_READONLY | constants.SQLITE_OPEN_URI;
  return new Database(`${pathToFileURL(path).href}?immutable=1`, flags);
}

function prepareForWriting(database: Database): void {
  // Takes effect only before the first table, and before WAL mode writes the first page.
  database.run("PRAGMA auto_vacuum = INCREMENTAL");
  database.run("PRAGMA journal_mode = WAL");
  database.run("PRAGMA synchronous = FULL");
  database.run("PRAGMA foreign_keys = OFF");
  database.run(`PRAGMA wal_autocheckpoint = ${COMMIT_CHECKPOINT_PAGES}`);
  database.run(`PRAGMA journal_size_limit = ${MAX_IDLE_LOG_BYTES}`);
}

/** Every write transaction takes the lock at once, so that it cannot fail half-way for want of it. */
export function transaction<T>(database: Database, work: () => T): T {
  database.run("BEGIN IMMEDIATE");
  try {
    const result = work();
    database.run("COMMIT");
    return result;
  } catch (error) {
    rollback(database);
    throw error;
  }
}

/** SQLite itself may have rolled back already, after a full disk for example. */
export function rollback(database: Database): void {
  if (database.inTransaction) database.run("ROLLBACK");
}
