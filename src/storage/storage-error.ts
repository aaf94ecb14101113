import { HoldfastError, type ErrorCode, messageOf, systemCode } from "../core/errors.ts";

interface Meaning {
  code: ErrorCode;
  retryable: boolean;
  advice: string;
}

const MEANINGS: [prefix: string, meaning: Meaning][] = [
  ["SQLITE_FULL", { code: "exhausted", retryable: true, advice: "the disk is full: free some space" }],
  [
    "SQLITE_IOERR_SHORT_READ",
    { code: "corrupt", retryable: false, advice: "the database file is shorter than it should be" },
  ],
  ["SQLITE_IOERR", { code: "failed", retryable: true, advice: "the disk reported an I/O error: check it" }],
  ["SQLITE_CORRUPT", { code: "corrupt", retryable: false, advice: "the database file is damaged" }],
  ["SQLITE_NOTADB", { code: "corrupt", retryable: false, advice: "the file is not a database" }],
  [
    "SQLITE_BUSY",
    { code: "busy", retryable: true, advice: "another process holds the database: stop it or wait" },
  ],
  [
    "SQLITE_READONLY",
    { code: "denied", retryable: false, advice: "make the file and its folder writable for this user" },
  ],
  [
    "SQLITE_CANTOPEN",
    { code: "denied", retryable: false, advice: "check that the path exists and its rights allow writing" },
  ],
  ["SQLITE_NOMEM", { code: "exhausted", retryable: true, advice: "there is not enough memory" }],
  ["SQLITE_CONSTRAINT", { code: "conflict", retryable: false, advice: "the rows contradict stored ones" }],
];

/** Statements are made for the schema, and its version was looked at before: only a change on the disk contradicts them. */
const WRONG_SCHEMA =
  /^(no such (table|column|index): |table \S+ (has no column named|has \d+ columns but|already exists)|duplicate column name: |ON CONFLICT clause does not match)/;
const DAMAGED_SCHEMA: Meaning = {
  code: "corrupt",
  retryable: false,
  advice: "the tables of the database file are not those that were made: the file is damaged",
};

function hasWrongSchema(error: unknown): boolean {
  return systemCode(error) === "SQLITE_ERROR" && WRONG_SCHEMA.test(messageOf(error));
}

/** What an SQLite error means to a caller. `what` names the operation and the file. */
export function storageError(error: unknown, what: string): HoldfastError {
  if (error instanceof HoldfastError) return error;
  const sqlite = systemCode(error) ?? "";
  const meaning = hasWrongSchema(error)
    ? DAMAGED_SCHEMA
    : MEANINGS.find(([prefix]) => sqlite.startsWith(prefix))?.[1];
  const message = `${what}: ${messageOf(error)}`;
  if (!meaning) return new HoldfastError("failed", message, { cause: error });
  return new HoldfastError(meaning.code, `${message} (${sqlite}): ${meaning.advice}`, {
    retryable: meaning.retryable,
    cause: error,
    details: { sqlite },
  });
}

/** True when the error concerns the file or the disk and not one operation: the whole transaction is lost. */
export function isTransactionLost(error: unknown): boolean {
  return /^SQLITE_(FULL|IOERR|CORRUPT|NOTADB|READONLY|NOMEM|CANTOPEN|PROTOCOL|BUSY)/.test(
    systemCode(error) ?? "",
  );
}

/** True when the error says that the bytes of the file are wrong. */
export function isDamage(error: unknown): boolean {
  if (error instanceof HoldfastError) return error.code === "corrupt";
  return hasWrongSchema(error) || /^SQLITE_(CORRUPT|NOTADB|IOERR_SHORT_READ)/.test(systemCode(error) ?? "");
}

/** A HoldfastError as it crosses from the storage thread; `cause` and stack stay behind. */
export interface ErrorFrame {
  code: ErrorCode;
  message: string;
  retryable: boolean;
  details: Record<string, unknown> | undefined;
}

export function toErrorFrame(error: unknown, what: string): ErrorFrame {
  const { code, message, retryable, details } = storageError(error, what);
  return { code, message, retryable, details };
}

export function fromErrorFrame(frame: ErrorFrame): HoldfastError {
  return new HoldfastError(frame.code, frame.message, {
    retryable: frame.retryable,
    ...(frame.details ? { details: frame.details } : {}),
  });
}
