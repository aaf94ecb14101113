import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { LANES, ZERO_HASH } from "../../model/record.ts";
import type { AgentStore } from "./port.ts";
import {
  keep,
  commitOf,
  failure,
  type Fixture,
  fixture,
  idsOf,
  numbered,
  readLane,
  sent,
  SOURCE,
  startOf,
} from "./store-fixtures.ts";

let place: Fixture;
beforeEach(() => {
  place = fixture();
});
afterEach(() => place.end());

async function cursorAt(store: AgentStore, number: number, lane: number = LANES.events) {
  const batch = await store.readBatch(lane, 1, number, 1, 1);
  return { epoch: store.facts.epoch, lane, segment: 1, number, hash: batch!.lastHash };
}

describe("batches", () => {
  test("are bounded by rows and bytes, but never empty", async () => {
    const store = await place.open();
    await store.commitEvents(commitOf(numbered("e", 20)));
    const bytes = (await store.readBatch(LANES.events, 1, 1, 1, 1))!.records[0]!.body.length;
    expect((await store.readBatch(LANES.events, 1, 1, 7, 1e6))!.records.length).toBe(7);
    const batch = (await store.readBatch(LANES.events, 1, 5, 100, bytes * 3))!;
    expect(batch.records.map((record) => record.number)).toEqual([5, 6, 7]);
    expect(batch).toMatchObject({ epoch: store.facts.epoch, lane: LANES.events, segment: 1, first: 5 });
    expect(await store.readBatch(LANES.events, 1, 21, 10, 1e6)).toBeNull();
    expect(await store.readBatch(LANES.bulk, 1, 1, 10, 1e6)).toBeNull();
  });
});

describe("acknowledgement", () => {
  test("moves the stream, survives a restart, and an older one changes nothing", async () => {
    const first = await place.open();
    await first.commitEvents(commitOf(numbered("e", 10)));
    const six = await cursorAt(first, 6);
    const four = await cursorAt(first, 4);
    await first.acknowledge(six);
    await first.acknowledge(four);
    await first.close();
    const store = await place.open();
    expect(await store.streams()).toEqual([
      {
        ...{ lane: LANES.events, segment: 1, last: 10, lastHash: expect.any(Uint8Array), acknowledged: 6 },
        ...{ rows: 4, bytes: expect.any(Number), closed: false, firstLink: ZERO_HASH },
      },
    ]);
    expect((await store.stats()).unacknowledged.events).toBe(4);
    // A hub that was restored may ask again.
    expect(idsOf(await readLane(store, LANES.events))).toEqual(numbered("e", 10));
  });

  test("of another history is a conflict and changes nothing", async () => {
    const store = await place.open();
    await store.commitEvents(commitOf(numbered("e", 3)));
    const cursor = await cursorAt(store, 2);
    const conflict = { code: "conflict" };
    expect(await failure(store.acknowledge({ ...cursor, hash: new Uint8Array(32) }))).toMatchObject(conflict);
    expect(await failure(store.acknowledge({ ...cursor, number: 9 }))).toMatchObject(conflict);
    expect(await failure(store.acknowledge({ ...cursor, epoch: "other" }))).toMatchObject({
      code: "invalid",
    });
    await store.acknowledge({ ...cursor, number: 0 });
    expect((await store.streams())[0]!.acknowledged).toBe(0);
  });
});

describe("history", () => {
  test("keeps the newest acknowledged rows; what is gone is told as gone", async () => {
    const store = await place.open({ retention: { sent: sent(100), events: keep(50) } });
    await store.commitEvents(commitOf(numbered("e", 5000)));
    await store.acknowledge(await cursorAt(store, 4900));
    while ((await store.stats()).events > 200) await store.trim();
    // Rows 4801 to 5000 are in the outbox, and their events stay with them.
    expect((await store.stats()).events).toBe(200);
    expect(idsOf(await readLane(store, LANES.events, 4801))).toEqual(numbered("e", 5000).slice(4800));
    expect(await failure(store.readBatch(LANES.events, 1, 4800, 1, 1))).toMatchObject({ code: "not_found" });
    await store.close();
    const again = await place.open();
    await again.commitEvents(commitOf(["next"]));
    expect(idsOf(await readLane(again, LANES.events, 4801)).at(-1)).toBe("next");
    expect(await again.lastEvent()).toBe(5001);
  });

  test("holds events that an output has not read or that an open run is about", async () => {
    const store = await place.open({ retention: { sent: sent(0), events: keep(10) } });
    const runs = [{ event: 2, start: startOf("run-1", "e-2") }];
    await store.commitEvents(commitOf(numbered("e", 100), { runs }));
    await store.setOutputCursor("archive", 60);
    await store.acknowledge(await cursorAt(store, 100));
    while ((await store.stats()).events > 41) await store.trim();
    await store.trim();
    expect((await store.eventsAfter(0, 2)).map((row) => row.n)).toEqual([3, 61]);
    expect((await store.openRuns())[0]!.event).toMatchObject({ id: "e-2", source: SOURCE });
  });

  test("holds nothing for an output that is not at work, whose position stays", async () => {
    const open = (outputs: string[]) =>
      place.open({ retention: { sent: sent(0), events: keep(10), outputs } });
    const store = await open(["busy"]);
    await store.commitEvents(commitOf(numbered("e", 100)));
    await store.setOutputCursor("disabled", 5);
    await store.setOutputCursor("busy", 80);
    await store.acknowledge(await cursorAt(store, 100));
    while ((await store.stats()).events > 20) await store.trim();
    await store.trim();
    expect((await store.eventsAfter(0, 1)).map((row) => row.n)).toEqual([81]);
    await store.close();
    const none = await open([]);
    while ((await none.stats()).events > 10) await none.trim();
    expect((await none.eventsAfter(0, 1)).map((row) => row.n)).toEqual([91]);
    expect(await none.outputCursor("disabled")).toBe(5);
  });

  test("keeps the newest ended runs", async () => {
    const store = await place.open({ retention: { runs: keep(5) } });
    for (let i = 0; i < 12; i++) {
      const runs = [{ event: 0, start: startOf(`run-${i}`, `e-${i}`) }];
      await store.commitEvents(commitOf([`e-${i}`], { runs }));
      if (i === 0) continue;
      const run = { state: "succeeded" as const, endedMs: 3 };
      await store.changeRun({ runId: `run-${i}`, guards: [], steps: [], run, records: [] });
    }
    await store.trim();
    const left = (await store.runs({ limit: 50 })).map(({ run }) => run.id);
    expect(left).toEqual(["run-11", "run-10", "run-9", "run-8", "run-7", "run-0"]);
    expect(await store.run("run-3")).toBeNull();
    expect((await store.openRuns()).length).toBe(1);
  });

  test("runs go with their children, and stay while one of those is open", async () => {
    const store = await place.open({ retention: { runs: keep(3) } });
    const below = (id: string, parent: string) =>
      startOf(id, null, { parent: { run: parent, step: "call", key: `${parent}/${id}` } });
    await store.startRuns([
      startOf("busy", null),
      startOf("done", null),
      below("open-child", "busy"),
      below("child", "done"),
      below("grandchild", "child"),
      startOf("newer", null),
      startOf("newest", null),
    ]);
    for (const id of ["busy", "done", "child", "grandchild", "newer", "newest"])
      await store.changeRun({ runId: id, guards: [], steps: [], run: { state: "failed" }, records: [] });
    await store.trim();
    const left = async () => (await store.runs({ limit: 50 })).map(({ run }) => run.id);
    expect(await left()).toEqual(["newest", "newer", "open-child", "busy"]);
    const ended = {
      runId: "open-child",
      guards: [],
      steps: [],
      run: { state: "failed" as const },
      records: [],
    };
    await store.changeRun(ended);
    await store.trim();
    expect(await left()).toEqual(["newest", "newer"]);
  });

  test("the oldest dead letters are dropped, and that is counted", async () => {
    const store = await place.open({ retention: { deadLetters: keep(3) } });
    for (const runId of numbered("run", 5)) {
      await store.startRuns([startOf(runId, null)]);
      const dead = {
        runId,
        pipeline: "react",
        rule: null,
        params: null,
        reason: "no",
        errors: [],
        createdMs: 1,
      };
      const change = { runId, guards: [], steps: [], records: [] };
      await store.changeRun({ ...change, dead: { ...dead, state: "failed" } });
    }
    await store.trim();
    expect((await store.deadLetters(10)).map((letter) => letter.runId)).toEqual(["run-4", "run-3", "run-2"]);
    expect(await store.stats()).toMatchObject({ deadLetters: 3, deadLettersDropped: 2 });
  });

  test("a pipeline version stays while its sender may take it for known", async () => {
    const first = await place.open({ retention: { runs: keep(0) } });
    const old = startOf("old", null, { definition: "hash-of-old" });
    await first.startRuns([old, startOf("new", null)]);
    await first.changeRun({ runId: "old", guards: [], steps: [], run: { state: "failed" }, records: [] });
    await first.trim();
    expect((await first.runs({ limit: 9 })).map(({ run }) => run.id)).toEqual(["new"]);
    // It was sent before, and is not sent again.
    await first.startRuns([startOf("old-again", null, { definition: "hash-of-old" })]);
    expect((await first.run("old-again"))!.definition).toEqual(old.definition);
  });
});

describe("a new epoch", () => {
  test("carries on what the hub does not hold, in order, as fresh streams", async () => {
    const store = await place.open();
    const runs = [{ event: 0, start: startOf("run-1", "e-0") }];
    await store.commitEvents(commitOf(numbered("e", 600), { runs }));
    const old = store.facts.epoch;
    const late = await cursorAt(store, 300);
    await store.acknowledge(late);
    const epoch = await store.renewEpoch("forked", [{ lane: LANES.events, segment: 1, number: 250 }]);
    expect(epoch).toMatch(/^[0-9a-f]{32}$/);
    expect(epoch).not.toBe(old);
    expect(store.facts.epoch).toBe(epoch);
    expect(idsOf(await readLane(store, LANES.events))).toEqual(numbered("e", 600).slice(250));
    expect(idsOf(await readLane(store, LANES.results))).toEqual(["run-1"]);
    expect(await failure(store.acknowledge(late))).toMatchObject({ code: "invalid" });
    await store.close();
    const again = await place.open();
    expect(again.facts.epoch).toBe(epoch);
    await again.commitEvents(commitOf(["next"]));
    expect(idsOf(await readLane(again, LANES.events)).slice(-2)).toEqual(["e-599", "next"]);
    expect((await again.stats()).unacknowledged).toEqual({ results: 1, events: 351, bulk: 0 });
  });
});
