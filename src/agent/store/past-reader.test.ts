import { Database } from "bun:sqlite";
import { afterEach, beforeEach, expect, test } from "bun:test";
import { existsSync, readdirSync, statSync } from "node:fs";
import { PastReader } from "./past-reader.ts";
import { commitOf, eventOf, type Fixture, fixture, numbered, SOURCE, startOf } from "./store-fixtures.ts";

let at: Fixture;
beforeEach(() => void (at = fixture()));
afterEach(() => at.end());

test("reads events page by page as they were committed, and no further than it was told", async () => {
  const store = await at.open();
  await store.commitEvents(commitOf(numbered("e", 10), { recordedMs: 77 }));
  const past = new PastReader(at.path);
  expect(past.bounds()).toEqual({ first: 1, last: 10 });
  await store.commitEvents(commitOf(["later"]));
  const first = past.events(0, 10, 6);
  const rest = past.events(first.at(-1)!.n, 10, 6);
  expect([...first, ...rest].map(({ id }) => id)).toEqual(numbered("e", 10));
  expect(first[0]).toMatchObject({ n: 1, source: SOURCE, type: "log.line", recordedMs: 77 });
  expect(past.body(first[3]!)).toBe(eventOf("e-3").body);
  expect(past.timesBefore(4, 2)).toEqual([
    [3, 77],
    [2, 77],
  ]);
  past.close();
});

test("between its reads nothing keeps the log of a running agent from being taken into the file", async () => {
  const store = await at.open();
  await store.commitEvents(commitOf(numbered("e", 50)));
  const past = new PastReader(at.path);
  expect(past.events(0, 50, 5)).toHaveLength(5);
  expect(past.runs(0, 0, 5)).toEqual([]);
  const other = new Database(at.path);
  expect(other.query("PRAGMA wal_checkpoint(TRUNCATE)").get()).toMatchObject({ busy: 0 });
  other.close();
  expect(statSync(`${at.path}-wal`).size).toBe(0);
  expect(past.events(5, 50, 100)).toHaveLength(45);
  past.close();
});

test("a store that nobody has open is left without a log; whoever opens it meanwhile is noticed", async () => {
  const store = await at.open();
  await store.commitEvents(commitOf(["a"]));
  await store.close();
  const before = readdirSync(at.folder);
  const past = new PastReader(at.path);
  expect(past.events(0, 1, 10)).toHaveLength(1);
  past.checkStill();
  expect(readdirSync(at.folder)).toEqual(before);
  await at.open();
  expect(existsSync(`${at.path}-wal`)).toBe(true);
  expect(() => past.checkStill()).toThrow("was opened for writing while it was being read");
  past.close();
});

test("runs of rules in the order of their commits, and from which event on they are all there", async () => {
  const store = await at.open();
  for (const id of numbered("e", 6)) {
    const runs = [{ event: 0, start: startOf(`run-${id}`, id) }];
    await store.commitEvents(commitOf([id], { runs }));
  }
  const past = new PastReader(at.path);
  expect(past.runs(0, 3, 2).map(({ id, eventN, rule }) => [id, eventN, rule])).toEqual([
    ["run-e-2", 3, "errors"],
    ["run-e-3", 4, "errors"],
  ]);
  expect(past.runsKeptFrom()).toBe(0);
  past.close();
  await store.close();
  const database = new Database(at.path);
  // The first one is still open, and so still there.
  database.run("DELETE FROM runs WHERE n IN (2, 3)");
  database.close();
  const later = new PastReader(at.path);
  expect(later.runsKeptFrom()).toBe(5);
  later.close();
});

test("damage in the middle is told with the file", async () => {
  const store = await at.open();
  await store.commitEvents(commitOf(numbered("e", 2000)));
  await store.close();
  const file = Bun.file(at.path);
  const bytes = new Uint8Array(await file.arrayBuffer());
  bytes.fill(0xff, Math.floor(bytes.length / 8192) * 4096);
  await Bun.write(at.path, bytes);
  const past = new PastReader(at.path);
  expect(() => past.events(0, 2000, 2000)).toThrow(at.path);
  past.close();
});
