import { Database } from "bun:sqlite";
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import {
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { basename } from "node:path";
import { LANES } from "../../model/record.ts";
import { readableRows } from "./readable-rows.ts";
import {
  commitOf,
  eventOf,
  failure,
  type Fixture,
  fixture,
  idsOf,
  numbered,
  readLane,
  startOf,
} from "./store-fixtures.ts";

const NOW = Date.UTC(2026, 10, 21, 4, 30, 0);
let place: Fixture;
beforeEach(() => {
  place = fixture();
});
afterEach(() => place.end());

/** A closed store with settings, a paused schedule, an open run and 3,000 events, of which the hub holds 1,000. */
async function filled(): Promise<string> {
  const store = await place.open();
  await store.setSetting("name", "kept");
  const runs = [{ event: 0, start: startOf("run-1", "e-0") }];
  await store.commitEvents(commitOf(numbered("e", 3000), { runs, checkpoint: "old" }));
  await store.commitEvents({
    ...{ trigger: "schedule:nightly", events: [], runs: [] },
    ...{ checkpoint: { paused: true }, recordedMs: 1 },
  });
  const batch = await store.readBatch(LANES.events, 1, 1000, 1, 1);
  const { epoch } = store.facts;
  await store.acknowledge({ epoch, lane: LANES.events, segment: 1, number: 1000, hash: batch!.lastHash });
  await store.close();
  return epoch;
}

async function reopened(oldEpoch: string) {
  const store = await place.open({ wall: () => NOW });
  const salvage = store.facts.salvage!;
  expect(salvage).not.toBeNull();
  expect(basename(salvage.movedTo)).toBe("agent.db.corrupt-20261121T043000Z");
  expect(statSync(salvage.movedTo).isFile()).toBe(true);
  expect(store.facts.epoch).not.toBe(oldEpoch);
  expect(await store.checkpoint("app")).toBeUndefined();
  return { store, salvage };
}

function overwrite(path: string, at: number, bytes: Uint8Array): void {
  const file = readFileSync(path);
  file.set(bytes, at);
  writeFileSync(path, file);
}

describe("a damaged file is set aside", () => {
  test("one page of garbage in the middle: nearly everything is salvaged, in order", async () => {
    const epoch = await filled();
    overwrite(
      place.path,
      Math.floor(statSync(place.path).size / 8192) * 4096,
      new Uint8Array(4096).fill(0xa5),
    );
    const { store, salvage } = await reopened(epoch);
    const ids = idsOf(await readLane(store, LANES.events));
    expect(ids.length).toBeGreaterThan(1500);
    expect(ids.length + salvage.salvaged.outboxLost!).toBe(2000);
    expect(ids).toEqual(
      numbered("e", 3000)
        .slice(1000)
        .filter((id) => ids.includes(id)),
    );
    // It works on, and the next start is an ordinary one.
    await store.commitEvents(commitOf(["next"]));
    await store.close();
    expect((await place.open()).facts).toMatchObject({ epoch: store.facts.epoch, salvage: null });
  });

  test("cut to nine tenths: what is left is salvaged, and the file is kept as it was", async () => {
    const epoch = await filled();
    const cut = readFileSync(place.path).subarray(0, Math.floor(statSync(place.path).size * 0.9));
    writeFileSync(place.path, cut);
    const { store, salvage } = await reopened(epoch);
    expect(readFileSync(salvage.movedTo).equals(cut)).toBe(true);
    expect(salvage.salvaged.settings).toBe(1);
    expect(salvage.salvaged.outbox).toBeGreaterThan(500);
    const ids = idsOf(await readLane(store, LANES.events));
    expect(ids).toEqual(numbered("e", 3000).filter((id) => ids.includes(id)));
    expect(readdirSync(place.folder).filter((name) => name.includes("salvage"))).toEqual([]);
  });

  test("what an open run needs and is no JSON any more: found at the start, set aside at the next", async () => {
    const epoch = await filled();
    const file = readFileSync(place.path);
    const at = file.indexOf(`"onFailure":`);
    overwrite(place.path, at, Buffer.from("x"));
    const store = await place.open();
    expect(await failure(store.openRuns())).toMatchObject({ code: "corrupt" });
    await store.close();
    const { salvage } = await reopened(epoch);
    expect(salvage.reason).toContain("does not hold what was written");
  });

  test.each([
    ["a state that a run cannot go on from", "UPDATE runs SET state = 'succeeded' WHERE open = 1"],
    ["a state that there is not", "UPDATE runs SET state = 'qveued' WHERE open = 1"],
    ["a step's state that there is not", "UPDATE steps SET state = 'qveued'"],
  ])("an open run with %s: found at the start, told as lost at the next", async (_, sql) => {
    const epoch = await filled();
    const database = new Database(place.path);
    database.exec(sql);
    database.close();
    const store = await place.open();
    expect(await failure(store.openRuns())).toMatchObject({ code: "corrupt" });
    await store.close();
    const { store: next, salvage } = await reopened(epoch);
    expect(salvage.salvaged).toMatchObject({ runs: 0, runsLost: 1 });
    expect(await next.openRuns()).toEqual([]);
  });

  test("an open run that its index has lost: noticed and saved at once", async () => {
    const epoch = await filled();
    const database = new Database(place.path);
    const { rootpage } = database
      .query("SELECT rootpage FROM sqlite_schema WHERE name = 'runs_open'")
      .get() as { rootpage: number };
    database.close();
    // The number of cells, in the header of the index's only page.
    overwrite(place.path, (rootpage - 1) * 4096 + 3, new Uint8Array(2));
    const { store: next, salvage } = await reopened(epoch);
    expect(salvage.salvaged).toMatchObject({ runs: 1, runsLost: 0 });
    expect(await next.openRuns()).toHaveLength(1);
  });

  test("a note of damage found in use: everything readable is salvaged", async () => {
    const epoch = await filled();
    writeFileSync(`${place.path}-damaged`, "row 5 is not what was written\n");
    const { store, salvage } = await reopened(epoch);
    expect(salvage.reason).toBe("row 5 is not what was written");
    expect(salvage.salvaged).toEqual({
      settings: 1,
      ruleStates: 0,
      windowEntries: 0,
      findings: 0,
      deadLetters: 0,
      memory: 0,
      parameters: 0,
      secrets: 0,
      silences: 0,
      schedules: 1,
      laterRuns: 0,
      outbox: 2001,
      outboxLost: 0,
      runs: 1,
      runsLost: 0,
    });
    expect(idsOf(await readLane(store, LANES.events))).toEqual(numbered("e", 3000).slice(1000));
    expect(idsOf(await readLane(store, LANES.results))).toEqual(["run-1"]);
    expect(await store.setting("name")).toBe("kept");
    expect(await store.checkpoint("schedule:nightly")).toEqual({ paused: true });
    const [open] = await store.openRuns();
    const { run, steps, definition } = startOf("run-1", "e-0");
    expect(open).toEqual({ run, steps, definition, event: JSON.parse(eventOf("e-0").body) });
  });

  test.each([
    ["truncated to half", (path: string) => truncateSync(path, Math.floor(statSync(path).size / 2))],
    ["garbage", (path: string) => writeFileSync(path, "this is no database\n".repeat(500))],
    ["a short stub", (path: string) => writeFileSync(path, "SQLite format 3\0")],
    ["a broken header", (path: string) => overwrite(path, 0, new Uint8Array(100).fill(7))],
    ["another program's database", otherDatabase],
  ])("%s: a new store takes its place", async (_name, damage) => {
    const epoch = await filled();
    damage(place.path);
    const { store } = await reopened(epoch);
    await store.commitEvents(commitOf(["works"]));
    expect(idsOf(await readLane(store, LANES.events)).at(-1)).toBe("works");
  });

  function otherDatabase(path: string): void {
    writeFileSync(path, "");
    const database = new Database(path);
    database.run("CREATE TABLE pets (name TEXT)");
    database.close();
  }

  test("with its log, after a crash", async () => {
    const epoch = await filled();
    // Left open: the log stays, as after kill -9.
    const crashed = new Database(place.path);
    crashed.run("INSERT INTO settings VALUES ('in the log', '1')");
    const wal = readFileSync(`${place.path}-wal`);
    overwrite(place.path, 4096 * 3, new Uint8Array(4096 * 4).fill(0xff));
    crashed.close();
    writeFileSync(`${place.path}-wal`, wal);
    const { salvage } = await reopened(epoch);
    const left = readdirSync(place.folder).toSorted();
    expect(left).toContain(`${basename(salvage.movedTo)}-wal`);
    expect(left.filter((name) => name.includes("salvage") || name.endsWith("-damaged"))).toEqual([]);
  });

  test("a crash between the two renames is made good at the next start", async () => {
    await filled();
    writeFileSync(`${place.path}-damaged`, "told\n");
    const salvaged = await place.open({ wall: () => NOW });
    await salvaged.close();
    renameSync(place.path, `${place.path}.salvage`);
    const store = await place.open();
    expect(store.facts).toEqual(salvaged.facts);
    expect((await readLane(store, LANES.events)).length).toBe(2000);
  });
});

test("dead letters, findings, what rules remember and locks are carried over", async () => {
  const store = await place.open();
  await store.startRuns([startOf("holder", null), startOf("next", null), startOf("over", null)]);
  const lock = { namespace: "default", lock: "disk" };
  const change = (runId: string, more: object) =>
    store.changeRun({ runId, guards: [], steps: [], records: [], ...more });
  for (const runId of ["next", "over", "holder"]) await change(runId, { lock });
  const told = { pipeline: "react", rule: null, params: 1, reason: "no", errors: [], createdMs: 1 };
  const dead = { ...told, runId: "over", state: "failed" as const };
  await change("over", { run: { state: "failed" }, dead });
  const finding = {
    ...{ id: "f-1", rule: "errors", key: "k", severity: "error" as const, title: "t", data: { a: 1 } },
    ...{ state: "open" as const, count: 2, firstMs: 1, lastMs: 2, resolvedMs: null },
  };
  const entries = [{ rule: "r", key: "k", atMs: 7, value: 0.5 }];
  const states = [{ rule: "r", key: "k", body: { fired: 1 } }];
  const rules = { states, entries, expire: [], findings: [finding] };
  await store.commitEvents(commitOf([], { rules }));
  await store.close();
  writeFileSync(`${place.path}-damaged`, "told\n");
  const { store: next, salvage } = await reopened(store.facts.epoch);
  const saved = { ruleStates: 1, windowEntries: 1, findings: 1, deadLetters: 1, runs: 2 };
  expect(salvage.salvaged).toMatchObject(saved);
  expect((await next.lockPlaces()).map((each) => each.runId)).toEqual(["next", "holder"]);
  expect(await next.deadLetter("over")).toEqual(dead);
  expect(await next.ruleMemory(["r"])).toEqual({ states, entries, openFindings: [finding], version: 0 });
});

test("bytes that changed without breaking the file are found when they are read, and not sent", async () => {
  const epoch = await filled();
  const file = readFileSync(place.path);
  const at = file.indexOf(`"2026-11-21T04:30:00.000Z","data":{"line":"hello"}`, Math.floor(file.length / 2));
  overwrite(place.path, at + 1, Buffer.from("1999"));
  const store = await place.open();
  expect(store.facts.salvage).toBeNull();
  const health: (string | null)[] = [];
  store.onHealth((problem) => health.push(problem));
  expect(await failure(readLane(store, LANES.events))).toMatchObject({ code: "corrupt" });
  await readLane(store, LANES.events).catch(() => {});
  await store.setSetting("still", "works");
  expect(health).toEqual([expect.stringContaining("not those that were committed")]);
  await store.close();
  const { store: next, salvage } = await reopened(epoch);
  const ids = idsOf(await readLane(next, LANES.events));
  expect(ids.length + salvage.salvaged.outboxLost!).toBe(2000);
  expect(salvage.salvaged.outboxLost).toBeLessThanOrEqual(1);
});

test("an empty file is a new store; an empty file with a log is not", async () => {
  writeFileSync(place.path, "");
  const store = await place.open();
  expect(store.facts.salvage).toBeNull();
  await store.close();
  writeFileSync(place.path, "");
  writeFileSync(`${place.path}-wal`, "something");
  await reopened(store.facts.epoch);
});

test("a folder in the file's place is refused, not moved", async () => {
  mkdirSync(place.path);
  expect((await failure(place.open())).message).toMatch(/agent\.db: it is a folder: move it away/);
  expect(statSync(place.path).isDirectory()).toBe(true);
});

test("rows around unreadable ones are found", () => {
  const bad = new Set([5, 6, 7, 300, 301, 1000]);
  const all = Array.from({ length: 1200 }, (_, i) => i + 1);
  const fetch = (after: number, limit: number) => {
    const page = all.filter((n) => n > after).slice(0, limit);
    if (page.some((n) => bad.has(n))) throw new Error("damaged");
    return page.map((at) => ({ at }));
  };
  const found = [...readableRows(fetch)].map((row) => row.at as number);
  expect(found).toEqual(all.filter((n) => !bad.has(n)));
});
