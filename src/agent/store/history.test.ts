/** What the store lets go of, and when, on a real file: by age, by size, without looking through everything. */
import { Database } from "bun:sqlite";
import { afterEach, beforeEach, describe, expect, spyOn, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemIds } from "../../core/ids.ts";
import type { FindingRow } from "../../model/rule.ts";
import type { RunRow } from "../../model/run.ts";
import { type InProcessStore, openInProcessStore } from "../../testing/in-process-store.ts";
import type { RunFilter } from "./port.ts";
import type { Retention } from "./retention.ts";
import { commitOf, eventOf, keep, numbered, sent, startOf } from "./store-fixtures.ts";

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const YEAR = 365 * DAY;
const MEGABYTE = 1024 ** 2;

let folder: string;
/** Trusted time, and the clock that only counts. */
let now: { trusted: number; mono: number };
const opened: InProcessStore[] = [];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "holdfast-history-"));
  now = { trusted: 100 * YEAR, mono: 0 };
});
afterEach(async () => {
  for (const store of opened.splice(0)) await store.close();
  rmSync(folder, { recursive: true, force: true });
});

async function open(retention: Partial<Retention>): Promise<InProcessStore> {
  const store = await openInProcessStore({
    ...{ path: join(folder, "agent.db"), ids: systemIds(), wall: () => 1 },
    time: { trusted: () => now.trusted, mono: () => now.mono },
    retention: { sent: sent(0), ...retention },
  });
  opened.push(store);
  return store;
}

async function acknowledge(store: InProcessStore): Promise<void> {
  const { epoch } = store.facts;
  for (const { lane, segment, last, lastHash } of await store.streams())
    await store.acknowledge({ epoch, lane, segment, number: last, hash: lastHash });
}

function pass(ms: number): void {
  now = { trusted: now.trusted + ms, mono: now.mono + ms };
}

async function tables(store: InProcessStore) {
  await store.trim();
  return (await store.stats()).history.tables;
}

async function eventsLeft(store: InProcessStore): Promise<number> {
  return (await tables(store)).events.rows;
}

describe("by age", () => {
  const MONTH = { events: { keep: 100_000, ageMs: 30 * DAY } };

  test("events go when their time has come, the newest and the young ones stay", async () => {
    const store = await open(MONTH);
    await store.commitEvents(commitOf(numbered("old", 9)));
    await acknowledge(store);
    await store.trim();
    pass(20 * DAY);
    await store.commitEvents(commitOf(numbered("young", 91)));
    await acknowledge(store);
    expect(await eventsLeft(store)).toBe(100);
    pass(11 * DAY);
    expect(await tables(store)).toMatchObject({
      events: { rows: 91, trimmed: { count: 0, age: 9, size: 0 } },
    });
    expect(await store.eventsAfter(0, 1)).toMatchObject([{ n: 10 }]);
    for (let hour = 0; hour < 2000; hour++) (pass(HOUR), await store.trim());
    expect(await eventsLeft(store)).toBe(1);
  });

  test("a clock that is a year ahead takes a tenth in an hour, and nothing more once it is set right", async () => {
    const store = await open(MONTH);
    await store.commitEvents(commitOf(numbered("e", 1000)));
    await acknowledge(store);
    await store.trim();
    now.trusted += YEAR;
    expect(await eventsLeft(store)).toBe(900);
    now.trusted += YEAR;
    now.mono += HOUR - 1;
    expect(await eventsLeft(store)).toBe(900);
    now.mono += 1;
    expect(await eventsLeft(store)).toBe(810);
    now.trusted -= 2 * YEAR;
    pass(20 * DAY);
    expect(await eventsLeft(store)).toBe(810);
    await store.commitEvents(commitOf(["next"]));
    expect(await eventsLeft(store)).toBe(811);
  });

  test("a restart gives no second tenth, however far the clock has come meanwhile", async () => {
    const first = await open(MONTH);
    await first.commitEvents(commitOf(numbered("e", 1000)));
    await acknowledge(first);
    await first.trim();
    now.trusted += YEAR;
    expect(await eventsLeft(first)).toBe(900);
    await first.close();
    now = { trusted: now.trusted + YEAR, mono: 5 };
    const second = await open(MONTH);
    expect(await eventsLeft(second)).toBe(900);
    now.mono += HOUR;
    expect(await eventsLeft(second)).toBe(810);
    expect((await tables(second)).events.trimmed).toEqual({ count: 0, age: 190, size: 0 });
  });

  test("what the hub does not have never goes, nor what an open run is about", async () => {
    const store = await open({ events: { keep: 100_000, ageMs: HOUR } });
    const runs = [{ event: 1, start: startOf("run-1", "e-1") }];
    await store.commitEvents(commitOf(numbered("e", 10), { runs }));
    await store.trim();
    pass(YEAR);
    expect(await eventsLeft(store)).toBe(10);
    await acknowledge(store);
    for (let hour = 0; hour < 20; hour++) (pass(HOUR), await store.trim());
    expect((await store.eventsAfter(0, 9)).map(({ n }) => n)).toEqual([2, 10]);
    await end(store, "run-1", 5);
    for (let hour = 0; hour < 2; hour++) (pass(HOUR), await store.trim());
    expect((await store.eventsAfter(0, 9)).map(({ n }) => n)).toEqual([10]);
  });

  test("runs go by when they ended: one that took long stays as long as if it had begun then", async () => {
    const store = await open({ runs: { keep: 1000, ageMs: 30 * DAY } });
    await store.startRuns([startOf("short", null), startOf("long", null), startOf("open", null)]);
    await store.trim();
    await end(store, "short", 6);
    pass(20 * DAY);
    await store.startRuns([startOf("newest", null)]);
    await end(store, "long", 5 + 20 * DAY);
    await end(store, "newest", 6);
    const left = async () => {
      await store.trim();
      return (await store.runs({ limit: 9 })).map(({ run }) => run.id);
    };
    expect(await left()).toEqual(["newest", "open", "long", "short"]);
    pass(11 * DAY);
    expect(await left()).toEqual(["newest", "open", "long"]);
    pass(18 * DAY);
    expect(await left()).toEqual(["newest", "open", "long"]);
    pass(2 * DAY);
    expect(await left()).toEqual(["newest", "open"]);
  });

  test("findings go by when they were resolved, dead letters by when they came", async () => {
    const store = await open({
      findings: { keep: 1000, ageMs: DAY },
      deadLetters: { keep: 1000, ageMs: 2 * DAY },
    });
    const change = (findings: FindingRow[]) => ({ states: [], entries: [], expire: [], findings });
    const put = (findings: FindingRow[]) => store.commitEvents(commitOf([], { rules: change(findings) }));
    await put([findingOf("resolved", "resolved"), findingOf("later", "open"), findingOf("open", "open")]);
    await store.startRuns([startOf("run-1", null)]);
    const dead = { runId: "run-1", pipeline: "react", rule: null, params: 1, reason: "no", errors: [] };
    const letter = { ...dead, state: "failed" as const, createdMs: 1 };
    await store.changeRun({ runId: "run-1", guards: [], steps: [], records: [], dead: letter });
    pass(DAY - 1);
    await store.trim();
    await put([findingOf("later", "resolved")]);
    pass(2);
    expect(await tables(store)).toMatchObject({ findings: { rows: 1 }, dead_letters: { rows: 1 } });
    expect((await store.findings({}, 9)).map(({ id }) => id).toSorted()).toEqual(["later", "open"]);
    pass(DAY);
    expect(await tables(store)).toMatchObject({ findings: { rows: 0 }, dead_letters: { rows: 0 } });
    expect((await store.findings({}, 9)).map(({ id }) => id)).toEqual(["open"]);
    expect((await store.stats()).deadLettersDropped).toBe(1);
  });
});

describe("by size", () => {
  const BYTES = 4 * MEGABYTE;
  const big = (ids: string[]) => ({
    ...commitOf([]),
    events: ids.map((id) => eventOf(id, "x".repeat(10_000))),
  });

  test("the oldest events make room, and the file stays under its limit", async () => {
    const store = await open({ bytes: BYTES });
    await store.setOutputCursor("stands", 1);
    for (let turn = 0; turn < 40; turn++) {
      await store.commitEvents(big(numbered(`e${turn}`, 20)));
      await acknowledge(store);
      await store.trim();
    }
    const { events, runs } = await tables(store);
    expect(events.trimmed.size).toBe(800 - events.rows);
    expect(events.rows).toBeGreaterThan(200);
    expect(runs.trimmed.size).toBe(0);
    await store.close();
    expect(Bun.file(join(folder, "agent.db")).size).toBeLessThanOrEqual(BYTES);
  });

  test("then ended runs; what the hub does not have stays whatever it takes", async () => {
    const store = await open({ bytes: BYTES });
    const params = { text: "x".repeat(10_000) };
    for (let turn = 0; turn < 30; turn++) {
      const ids = numbered(`run-${turn}`, 20);
      await store.startRuns(ids.map((id) => startOf(id, null, { params, state: "succeeded", endedMs: 6 })));
    }
    await store.commitEvents(big(numbered("e", 30)));
    const { events, runs } = await tables(store);
    expect(runs.rows).toBeLessThan(400);
    expect(runs.rows).toBeGreaterThan(50);
    expect(runs.trimmed.size).toBe(600 - runs.rows);
    expect(events.rows).toBe(30);
  });
});

test("a file that is larger than it need be is given back bit by bit", async () => {
  const path = join(folder, "agent.db");
  const store = await open({ events: keep(10), bytes: 64 * MEGABYTE });
  await store.commitEvents({
    ...commitOf([]),
    events: numbered("e", 2000).map((id) => eventOf(id, "x".repeat(10_000))),
  });
  await acknowledge(store);
  expect(await eventsLeft(store)).toBe(10);
  await store.close();
  expect(Bun.file(path).size).toBeLessThan(6 * MEGABYTE);
});

test("no statement of start, commits, trimming and status looks through a table that may be large", async () => {
  const place = join(folder, "agent.db");
  const first = await open({});
  await first.commitEvents(commitOf(numbered("e", 10), { runs: [{ event: 0, start: startOf("r", "e-0") }] }));
  await first.close();
  const statements = new Set<string>();
  const spies = (["query", "prepare", "run"] as const).map((method) => {
    const original = Database.prototype[method];
    return spyOn(Database.prototype, method).mockImplementation(function (this: Database, ...args: never[]) {
      statements.add(String(args[0]));
      return (original as (...args: never[]) => never).apply(this, args);
    } as never);
  });
  const store = await open({ events: keep(2), runs: keep(0), findings: keep(0), deadLetters: keep(0) });
  await acknowledge(store);
  await store.commitEvents(commitOf(["next"]));
  await end(store, "r", 6);
  await tables(store);
  await store.close();
  for (const spy of spies) spy.mockRestore();
  const database = new Database(place, { readonly: true });
  const large = /^SCAN (events|runs|outbox|steps|attempts)\b/;
  const scans: string[] = [];
  for (const sql of statements) {
    if (!/^\s*(SELECT|WITH|DELETE|UPDATE)/.test(sql)) continue;
    const plan = database.query(`EXPLAIN QUERY PLAN ${sql}`).all() as { detail: string }[];
    const bounded = /\bLIMIT\b/.test(sql) || /USING (COVERING )?INDEX runs_open/.test(JSON.stringify(plan));
    if (!bounded && plan.some(({ detail }) => large.test(detail))) scans.push(sql);
  }
  database.close();
  expect(statements.size).toBeGreaterThan(50);
  expect(scans).toEqual([]);
});

test("events of a kind are found over any number of others", async () => {
  const store = await open({});
  const of = (id: string, type: string) => ({ ...eventOf(id), type });
  await store.commitEvents({ ...commitOf([]), events: [of("first", "rare")] });
  for (let turn = 0; turn < 6; turn++) await store.commitEvents(commitOf(numbered(`e${turn}`, 2000)));
  await store.commitEvents({ ...commitOf([]), events: [of("last", "rare")] });
  const ids = async (filter: { after?: number; before?: number; limit: number }) => {
    const found = await store.events({ type: "rare", ...filter });
    return found.map(({ n }) => n);
  };
  expect(await ids({ limit: 5 })).toEqual([12_002, 1]);
  expect(await ids({ limit: 1 })).toEqual([12_002]);
  expect(await ids({ limit: 5, before: 12_002 })).toEqual([1]);
  expect(await ids({ limit: 5, after: 0 })).toEqual([1, 12_002]);
  expect(await ids({ limit: 5, after: 0, before: 12_002 })).toEqual([1]);
  expect(await ids({ limit: 5, after: 12_002 })).toEqual([]);
  expect((await store.events({ limit: 2 })).map(({ n }) => n)).toEqual([12_002, 12_001]);
});

test("runs of a kind are found over any number of others, and by a part of their id", async () => {
  const store = await open({});
  await store.startRuns([startOf("first-one", null, { pipeline: "rare" })]);
  for (let turn = 0; turn < 5; turn++)
    await store.startRuns(numbered(`r${turn}`, 1000).map((id) => startOf(id, null)));
  await store.startRuns([startOf("the-last", null, { pipeline: "rare", state: "failed" })]);
  const ids = async (filter: Partial<RunFilter>) =>
    (await store.runs({ limit: 5, ...filter })).map(({ run }) => run.id);
  expect(await ids({ pipeline: "rare" })).toEqual(["the-last", "first-one"]);
  expect(await ids({ pipeline: "rare", limit: 1 })).toEqual(["the-last"]);
  expect(await ids({ pipeline: "rare", open: true })).toEqual(["first-one"]);
  expect(await ids({ pipeline: "rare", before: 5002 })).toEqual(["first-one"]);
  expect(await ids({ state: "failed" })).toEqual(["the-last"]);
  expect(await ids({ pipeline: "none" })).toEqual([]);
  expect(await ids({ limit: 2 })).toEqual(["the-last", "r4-999"]);
  expect((await store.run("last"))?.run.id).toBe("the-last");
  expect((await store.run("firs"))?.run.id).toBe("first-one");
});

test("a text that nothing goes back to any more is forgotten, one that a run is of is not", async () => {
  const before = await open({ runs: keep(1) });
  await before.startRuns(["old", "kept"].map((id) => startOf(id, null, { definition: id, state: "failed" })));
  await before.close();
  const store = await open({ runs: keep(1) });
  expect(await store.texts(["old", "kept"])).toContainAllKeys(["old", "kept"]);
  await store.startRuns([startOf("new", null, { definition: "new", state: "failed" })]);
  await store.trim();
  const now = await store.texts(["old", "kept", "new"]);
  expect(Object.keys(now)).toEqual(["new"]);
});

async function end(store: InProcessStore, runId: string, endedMs: number): Promise<void> {
  const run = { state: "succeeded" as RunRow["state"], endedMs };
  await store.changeRun({ runId, guards: [], steps: [], run, records: [] });
}

function findingOf(id: string, state: FindingRow["state"]): FindingRow {
  return {
    ...{ id, rule: "r", key: id, severity: "error", title: "t", data: null, state, count: 1 },
    ...{ firstMs: 1, lastMs: 1, resolvedMs: state === "resolved" ? 1 : null },
  };
}
