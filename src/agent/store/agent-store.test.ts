import { Database } from "bun:sqlite";
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { schemaText } from "../../storage/migrations.ts";
import { LANES } from "../../model/record.ts";
import {
  commitOf,
  DEFINITION,
  failure,
  eventOf,
  type Fixture,
  fixture,
  idsOf,
  numbered,
  readLane,
  runRecordOf,
  SOURCE,
  startOf,
  stepOf,
} from "./store-fixtures.ts";
import { AGENT_MIGRATIONS } from "./migrations/migrations.ts";

const NEWEST = AGENT_MIGRATIONS.at(-1)!.version;

let place: Fixture;
beforeEach(() => {
  place = fixture();
});
afterEach(() => place.end());

describe("opening", () => {
  test("a new store has a random epoch, which stays", async () => {
    const first = await place.open();
    expect(first.facts).toEqual({
      epoch: expect.stringMatching(/^[0-9a-f]{32}$/),
      schemaVersion: NEWEST,
      salvage: null,
    });
    await first.close();
    const second = await place.open();
    expect(second.facts.epoch).toBe(first.facts.epoch);
  });

  test("the schema is the committed one, with WAL and incremental vacuum", async () => {
    await (await place.open()).close();
    const database = new Database(place.path);
    expect(schemaText(database)).toBe(readFileSync(join(import.meta.dir, "schema.sql"), "utf8"));
    expect(database.query("PRAGMA auto_vacuum").get()).toEqual({ auto_vacuum: 2 });
    expect(database.query("PRAGMA journal_mode").get()).toEqual({ journal_mode: "wal" });
    database.close();
  });

  test("a newer schema is refused and left as it is", async () => {
    await (await place.open()).close();
    const database = new Database(place.path);
    database.run("PRAGMA user_version = 99");
    database.close();
    expect((await failure(place.open())).message).toMatch(
      /agent\.db has schema version 99, and this executable \(.+\) knows versions up to \d+: use a newer/,
    );
    expect(new Database(place.path).query("PRAGMA user_version").get()).toEqual({ user_version: 99 });
  });
});

describe("events", () => {
  test("are kept in order, with outbox rows and the checkpoint, and survive a restart", async () => {
    const first = await place.open();
    const ids = numbered("e", 100);
    expect(await first.commitEvents(commitOf(ids, { checkpoint: { offset: 12 } }))).toEqual({
      duplicates: [],
    });
    await first.close();
    const store = await place.open();
    expect(idsOf(await readLane(store, LANES.events))).toEqual(ids);
    expect(await store.checkpoint("app")).toEqual({ offset: 12 });
    expect(await store.checkpoint("other")).toBeUndefined();
    expect(await store.event(SOURCE, "e-42")).toEqual(JSON.parse(eventOf("e-42").body));
    expect(await store.event(SOURCE, "e-100")).toBeNull();
    expect(await store.lastEvent()).toBe(100);
    expect(await store.eventsAfter(98, 10)).toEqual([
      { n: 99, body: eventOf("e-98").body },
      { n: 100, body: eventOf("e-99").body },
    ]);
  });

  test("duplicates are told and make neither rows nor runs; a checkpoint left out stays", async () => {
    const store = await place.open();
    await store.commitEvents(commitOf(numbered("e", 40), { checkpoint: 1 }));
    const mixed = ["e-3", ...numbered("f", 70), "e-39", "f-5"];
    const runs = [
      { event: 0, start: startOf("run-of-duplicate", "e-3") },
      { event: 1, start: startOf("run-of-new", "f-0") },
    ];
    expect(await store.commitEvents(commitOf(mixed, { runs }))).toEqual({ duplicates: [0, 71, 72] });
    expect(idsOf(await readLane(store, LANES.events))).toEqual([...numbered("e", 40), ...numbered("f", 70)]);
    expect((await store.runs({ limit: 10 })).map(({ run }) => run.id)).toEqual(["run-of-new"]);
    expect(await store.checkpoint("app")).toBe(1);
    expect((await store.stats()).events).toBe(110);
  });

  test("bodies come back byte for byte, whatever is in them", async () => {
    const store = await place.open();
    const odd = [
      eventOf('quote" and \\', { text: "naïve 日本 😀 \u0000 end" }),
      { ...eventOf("short"), body: "{}" },
      { ...eventOf("spaced"), body: JSON.stringify(JSON.parse(eventOf("spaced").body), null, 1) },
      {
        ...eventOf("bare"),
        body: `{"specversion":"1.0","id":"bare","source":"${SOURCE}","type":"log.line"}`,
      },
      { ...eventOf("longer type"), body: eventOf("longer type").body.replace("log.line", "log.lines") },
    ];
    await store.commitEvents({ ...commitOf([]), events: odd });
    expect((await store.eventsAfter(0, 10)).map((row) => row.body)).toEqual(odd.map((event) => event.body));
    expect(await readLane(store, LANES.events)).toEqual(odd.map((event) => event.body));
  });

  test("concurrent commits share transactions, and the outbox is announced once each", async () => {
    const store = await place.open();
    let announced = 0;
    store.onOutbox(() => announced++);
    await Promise.all(numbered("c", 500).map((id) => store.commitEvents(commitOf([id]))));
    const stats = await store.stats();
    expect(stats.operations).toBe(500);
    expect(stats.commits).toBeLessThan(20);
    expect(announced).toBe(stats.commits);
    expect(stats.unacknowledged).toEqual({ results: 0, events: 500, bulk: 0 });
    expect((await readLane(store, LANES.events)).length).toBe(500);
  });
});

describe("runs", () => {
  async function started() {
    const store = await place.open();
    const runs = [{ event: 0, start: startOf("run-1", "e-0") }];
    await store.commitEvents(commitOf(["e-0"], { runs }));
    return store;
  }

  test("open runs carry all that is needed to go on", async () => {
    const store = await started();
    const { run, steps, definition } = startOf("run-1", "e-0");
    const event = JSON.parse(eventOf("e-0").body);
    expect(await store.openRuns()).toEqual([{ run, steps, definition, event }]);
    expect(definition).toEqual(DEFINITION);
    expect(idsOf(await readLane(store, LANES.results))).toEqual(["run-1"]);
    expect((await store.stats()).openRuns).toBe(1);
  });

  test("a change is done when its guards hold, and not at all otherwise", async () => {
    const store = await started();
    const attempt = {
      runId: "run-1",
      stepId: "first",
      number: 1,
      fence: 1,
      state: "running" as const,
      startedMs: 8,
      endedMs: null,
      error: null,
    };
    const lease = {
      runId: "run-1",
      guards: [{ stepId: "first", fence: 0, state: "queued" as const }],
      steps: [{ stepId: "first", state: "running" as const, fence: 1, attempts: 1, startedMs: 8 }],
      attempt,
      run: { state: "running" as const, startedMs: 8 },
      records: [runRecordOf("leased")],
    };
    expect(await store.changeRun(lease)).toBe(true);
    expect(await store.changeRun(lease)).toBe(false);
    const found = await store.run("run-1");
    expect(found!.run).toMatchObject({ state: "running", startedMs: 8, endedMs: null });
    expect(found!.steps[0]).toEqual({
      ...stepOf("run-1", "first", 0),
      state: "running",
      fence: 1,
      attempts: 1,
      startedMs: 8,
    });
    expect(found!.attempts).toEqual([attempt]);
    expect(idsOf(await readLane(store, LANES.results))).toEqual(["run-1", "leased"]);
  });

  test("a run ends with its steps, new ones and the attempt's error", async () => {
    const store = await started();
    const error = { message: "no", code: "failed", retryable: false, started: true };
    const added = { ...stepOf("run-1", "tell", 2), part: "on_failure" as const };
    const change = {
      runId: "run-1",
      guards: [],
      steps: [{ stepId: "first", state: "failed" as const, error, output: { code: 3 }, endedMs: 9 }],
      newSteps: [added],
      run: { state: "failed" as const, reason: "first failed", endedMs: 9 },
      records: [],
    };
    expect(await store.changeRun(change)).toBe(true);
    const found = await store.run("run-1");
    expect(found!.steps.map((step) => step.stepId)).toEqual(["first", "second", "tell"]);
    expect(found!.steps[0]).toMatchObject({ state: "failed", error, output: { code: 3 } });
    expect(found!.steps[2]).toEqual(added);
    expect(found!.run).toMatchObject({ state: "failed", reason: "first failed", endedMs: 9 });
    expect(await store.openRuns()).toEqual([]);
    expect(await store.run("none")).toBeNull();
    expect((await failure(store.changeRun({ ...change, runId: "none" }))).message).toContain("no run none");
  });
});

describe("group commit", () => {
  test("an operation that fails half-way leaves the others of its transaction whole", async () => {
    const store = await place.open();
    await store.commitEvents(commitOf(["e-0"], { runs: [run("run-1")] }));
    const results = await Promise.allSettled([
      store.setSetting("before", 1),
      store.commitEvents(commitOf(["good-1"])),
      // Its events go in, then its run collides with one that exists.
      store.commitEvents(commitOf(["bad-1", "bad-2"], { runs: [run("run-1")], checkpoint: "bad" })),
      store.commitEvents(commitOf(["good-2"], { runs: [run("run-2")] })),
    ]);
    expect(results.map((result) => result.status)).toEqual([
      "fulfilled",
      "fulfilled",
      "rejected",
      "fulfilled",
    ]);
    expect((results[2] as PromiseRejectedResult).reason).toMatchObject({
      code: "conflict",
      retryable: false,
    });
    expect(idsOf(await readLane(store, LANES.events))).toEqual(["e-0", "good-1", "good-2"]);
    expect(idsOf(await readLane(store, LANES.results))).toEqual(["run-1", "run-2"]);
    expect(await store.checkpoint("app")).toBeUndefined();
    expect(await store.setting("before")).toBe(1);
    // The memory of the thread was rolled back too: what follows joins the chain.
    await store.commitEvents(commitOf(["bad-1"]));
    expect(idsOf(await readLane(store, LANES.events))).toEqual(["e-0", "good-1", "good-2", "bad-1"]);
  });

  function run(id: string) {
    return { event: 0, start: startOf(id, "e-0") };
  }

  test("a full disk fails the whole transaction, is told once, and is over when a write succeeds", async () => {
    const store = await place.open({
      faults: [{ label: "commit", at: "before", with: "SQLITE_FULL", skip: 1, times: 2 }],
    });
    const health: (string | null)[] = [];
    store.onHealth((problem) => health.push(problem));
    await store.commitEvents(commitOf(["kept"]));
    for (const id of ["lost-1", "lost-2"]) {
      const failed = await store.commitEvents(commitOf([id])).catch((error: unknown) => error);
      expect(failed).toMatchObject({ code: "exhausted", retryable: true });
      expect((failed as Error).message).toContain("the disk is full: free some space");
    }
    await store.commitEvents(commitOf(["again"]));
    expect(health).toEqual([expect.stringContaining("disk is full"), null]);
    expect(idsOf(await readLane(store, LANES.events))).toEqual(["kept", "again"]);
  });

  test("a store in trouble tries by itself when it is given time", async () => {
    const timers: (() => void)[] = [];
    const store = await place.open({
      after: (_ms, callback) => {
        timers.push(callback);
        return () => {};
      },
      faults: [{ label: "commit", at: "before", with: "SQLITE_IOERR_WRITE", times: 2 }],
    });
    const recovered = new Promise<void>((resolve) => store.onHealth((problem) => problem ?? resolve()));
    expect(await failure(store.setSetting("a", 1))).toMatchObject({ code: "failed", retryable: true });
    while (store.problem === null) await store.setting("a");
    timers.shift()!();
    while (timers.length === 0) await store.setting("a");
    timers.shift()!();
    await recovered;
    expect(store.problem).toBeNull();
  });

  test("close commits what is queued and refuses what comes later", async () => {
    const store = await place.open();
    const queued = numbered("q", 50).map((id) => store.commitEvents(commitOf([id])));
    await store.close();
    expect((await Promise.all(queued)).length).toBe(50);
    expect(await failure(store.lastEvent())).toMatchObject({ code: "cancelled" });
    expect(await (await place.open()).lastEvent()).toBe(50);
  });
});

test("settings and output cursors", async () => {
  const store = await place.open();
  expect(await store.setting("a")).toBeUndefined();
  await store.setSetting("a", { deep: [1, null] });
  expect(await store.setting("a")).toEqual({ deep: [1, null] });
  expect(await store.outputCursor("archive")).toBeUndefined();
  await store.setOutputCursor("archive", 3);
  await store.setOutputCursor("archive", 5);
  expect(await store.outputCursor("archive")).toBe(5);
});
