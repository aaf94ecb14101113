import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { Database } from "bun:sqlite";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "../../core/clock.ts";
import { systemIds } from "../../core/ids.ts";
import { LANES, RECORD_CLASSES } from "../../model/record.ts";
import { openHubStore, type SqlHubStore } from "./hub-store.ts";
import { events, runBody, StreamBuilder, stepBody } from "./test-batches.ts";

const RUN = "01999999-0000-7000-8000-00000000abcd";
const { run: runClass, step: stepClass } = RECORD_CLASSES;
let folder: string;
let file: string;
let store: SqlHubStore;
const open = () => openHubStore({ file, clock: systemClock(), ids: systemIds() });
const count = (table: string) => {
  const database = new Database(file, { readonly: true });
  const row = database.query(`SELECT COUNT(*) AS c FROM ${table}`).get() as { c: number };
  database.close();
  return row.c;
};

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "hub-store-"));
  file = join(folder, "hub.db");
  store = await open();
});
afterEach(async () => {
  await store.close();
  rmSync(folder, { recursive: true });
});

describe("runs", () => {
  const told = new StreamBuilder("e1", LANES.results);
  const change = (...bodies: { class: number; body: unknown }[]) =>
    store.ingest("web-01", told.copy().next(bodies), 5);

  test("show their newest state, their steps and their place in the order of changes", async () => {
    await change({ class: runClass, body: runBody(RUN, "queued") });
    expect((await store.runs({ limit: 5 }))[0]).toMatchObject({ id: RUN, state: "queued", n: 1 });
    const stream = new StreamBuilder("e2", LANES.results);
    await store.ingest(
      "web-01",
      stream.next([
        { class: runClass, body: runBody(RUN, "running", { startedMs: 1100 }) },
        { class: stepClass, body: stepBody(RUN, "restart", "running") },
        {
          class: stepClass,
          body: stepBody(RUN, "restart", "succeeded", { endedMs: 1200, output: { exit: 0 } }),
        },
        {
          class: runClass,
          body: runBody(RUN, "failed", { startedMs: 1100, endedMs: 1300, reason: "check" }),
        },
      ]),
      6,
    );
    const found = await store.run(undefined, RUN);
    expect(found!.run).toMatchObject({
      state: "failed",
      reason: "check",
      endedMs: 1300,
      agent: "web-01",
      n: 2,
    });
    expect(found!.steps).toMatchObject([
      { step: "restart", position: 0, state: "succeeded", output: { exit: 0 }, endedMs: 1200, attempts: 1 },
      { step: "check", position: 1, state: "queued", key: `${RUN}/check`, needs: ["restart"], attempts: 0 },
    ]);
    expect(await store.runsChangedAfter(1, 10)).toHaveLength(1);
    expect(await store.runsChangedAfter(2, 10)).toHaveLength(0);
    expect(await store.run("db-01", RUN)).toBeNull();
  });

  test("tell who started them; records of the first versions do not", async () => {
    const starter = { kind: "manual", by: "local:0" };
    const told = { starter, parent: null, retryOf: "r0" };
    await change({ class: runClass, body: runBody(RUN, "queued", told) });
    expect((await store.run(undefined, RUN))!.run).toMatchObject(told);
    const old = new StreamBuilder("e1", LANES.results).next([
      { class: runClass, body: runBody("r1", "queued") },
    ]);
    await store.ingest("old", old, 5);
    expect((await store.run("old", "r1"))!.run).toMatchObject({ starter: null, parent: null, retryOf: null });
  });

  test("an older segment that drains late does not bring an older state back", async () => {
    const old = new StreamBuilder("e1", LANES.results, 1).next([
      { class: runClass, body: runBody(RUN, "running") },
      { class: stepClass, body: stepBody(RUN, "restart", "running") },
    ]);
    const fresh = new StreamBuilder("e1", LANES.results, 2, 0, old.lastHash).next([
      { class: stepClass, body: stepBody(RUN, "restart", "succeeded") },
      { class: runClass, body: runBody(RUN, "succeeded") },
    ]);
    await store.ingest("web-01", fresh, 5);
    await store.ingest("web-01", old, 6);
    const found = await store.run("web-01", RUN);
    expect([found!.run.state, found!.steps[0]!.state]).toEqual(["succeeded", "succeeded"]);
    expect(count("records")).toBe(4);
  });

  test("lists page by id, filter, and find parts of ids", async () => {
    const ids = Array.from({ length: 5 }, (_, index) => `0199999${index}-0000-7000-8000-00000000000${index}`);
    const stream = new StreamBuilder("e1", LANES.results);
    await store.ingest(
      "web-01",
      stream.next(ids.map((id, i) => ({ class: runClass, body: runBody(id, i < 2 ? "failed" : "queued") }))),
      5,
    );
    await store.ingest(
      "db-01",
      new StreamBuilder("e1", LANES.results).next([{ class: runClass, body: runBody(ids[4]!, "queued") }]),
      5,
    );
    const page = await store.runs({ limit: 2 });
    expect(page.map((run) => `${run.id}/${run.agent}`)).toEqual([`${ids[4]}/web-01`, `${ids[4]}/db-01`]);
    const rest = await store.runs({ limit: 9, before: `${ids[4]}/db-01` });
    expect(rest.map((run) => run.id)).toEqual(ids.slice(0, 4).reverse());
    expect(await store.runs({ limit: 9, state: "failed" })).toHaveLength(2);
    expect(await store.runs({ limit: 9, state: "failed", before: `${ids[1]}/web-01` })).toHaveLength(1);
    expect(await store.runs({ limit: 9, agent: "db-01" })).toHaveLength(1);
    expect((await store.runsMatching(undefined, "000000004", 9)).map((run) => run.agent)).toEqual([
      "web-01",
      "db-01",
    ]);
    expect(await store.runsMatching("db-01", "01999994", 9)).toHaveLength(1);
  });
});

describe("events", () => {
  test("filter and page in both directions", async () => {
    const stream = new StreamBuilder();
    await store.ingest("web-01", stream.next(events("a", 3)), 5);
    await store.ingest("web-01", stream.next(events("b", 2, { type: "disk.low", severity: "error" })), 5);
    await store.ingest("db-01", new StreamBuilder().next(events("c", 2, { source: "urn:x" })), 5);
    const ids = async (filter: object) =>
      (await store.events({ limit: 9, ...filter })).map((event) => event.id);
    expect(await ids({ type: "disk.low" })).toEqual(["b-1", "b-0"]);
    expect(await ids({ severity: "error", agent: "db-01" })).toEqual([]);
    expect(await ids({ agent: "db-01" })).toEqual(["c-1", "c-0"]);
    expect(await ids({ source: "urn:x", before: 7 })).toEqual(["c-0"]);
    expect(await ids({ after: 4 })).toEqual(["b-1", "c-0", "c-1"]);
    expect(await ids({ after: 1, limit: 1 })).toEqual(["a-1"]);
  });
});
