import { Database } from "bun:sqlite";
import { expect, test } from "bun:test";
import { HoldfastError } from "../core/errors.ts";
import { migrate, schemaVersion } from "./migrations.ts";
import { isDamage, storageError } from "./storage-error.ts";
import { packBatch, unpackBatch } from "./storage-frames.ts";

const ONE = { version: 1, name: "one", sql: "CREATE TABLE a (x INTEGER)" };
const TWO = { version: 2, name: "two", sql: "CREATE TABLE b (x INTEGER); INSERT INTO b VALUES (7)" };
const BROKEN = {
  version: 2,
  name: "broken",
  sql: "CREATE TABLE b (x INTEGER); INSERT INTO nowhere VALUES (1)",
};

test("migrations run once each, in order, from the version that is there", () => {
  const database = new Database(":memory:");
  expect(migrate(database, [ONE], "test.db")).toEqual({ from: 0, to: 1 });
  expect(migrate(database, [ONE, TWO], "test.db")).toEqual({ from: 1, to: 2 });
  expect(migrate(database, [ONE, TWO], "test.db")).toEqual({ from: 2, to: 2 });
  expect(database.query("SELECT x FROM b").all()).toEqual([{ x: 7 }]);
});

test("a migration that fails leaves the version and the schema before it", () => {
  const database = new Database(":memory:");
  expect(() => migrate(database, [ONE, BROKEN], "test.db")).toThrow("nowhere");
  expect(schemaVersion(database)).toBe(1);
  expect(() => database.query("SELECT * FROM b")).toThrow("no such table");
});

test("a newer schema is refused with both versions", () => {
  const database = new Database(":memory:");
  database.run("PRAGMA user_version = 3");
  expect(() => migrate(database, [ONE, TWO], "test.db")).toThrow(
    /^test\.db has schema version 3, .* knows versions up to 2: use a newer executable$/,
  );
});

test("a batch crosses as one string and comes back as it was", () => {
  const writes = [
    { operation: "a", args: '{"x":"日本"}', text: "" },
    { operation: "b", args: "null", text: "text 😀 [1,2]" },
  ];
  expect(unpackBatch(packBatch(writes))).toEqual([
    { operation: "a", args: { x: "日本" }, text: "" },
    { operation: "b", args: null, text: "text 😀 [1,2]" },
  ]);
  expect(unpackBatch(packBatch([]))).toEqual([]);
});

test.each([
  ["SQLITE_FULL", "exhausted", true, false],
  ["SQLITE_IOERR_FSYNC", "failed", true, false],
  ["SQLITE_IOERR_SHORT_READ", "corrupt", false, true],
  ["SQLITE_CORRUPT_VTAB", "corrupt", false, true],
  ["SQLITE_NOTADB", "corrupt", false, true],
  ["SQLITE_BUSY", "busy", true, false],
  ["SQLITE_READONLY", "denied", false, false],
  ["SQLITE_CONSTRAINT_UNIQUE", "conflict", false, false],
  ["SQLITE_MISUSE", "failed", false, false],
] as const)("%s is %s", (sqlite, code, retryable, damage) => {
  const cause = Object.assign(new Error("cause"), { code: sqlite });
  const error = storageError(cause, "test.db cannot commit");
  expect(error).toBeInstanceOf(HoldfastError);
  expect(error).toMatchObject({ code, retryable });
  expect(error.message).toStartWith("test.db cannot commit: cause");
  expect(isDamage(cause)).toBe(damage);
});
