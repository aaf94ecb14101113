import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import type { LaterRun } from "../../model/schedule-later.ts";
import { silentLogger } from "../../core/logger.ts";
import { ScheduleRig } from "../../testing/schedule-rig.ts";
import { settled } from "../../testing/virtual-clock.ts";
import { LaterRuns } from "./later-runs.ts";

const SECOND = 1000;
const MINUTE = 60 * SECOND;

let rig: ScheduleRig;
let later: LaterRuns;
let refusal: string | null;
beforeEach(() => {
  rig = new ScheduleRig();
  refusal = null;
});
afterEach(async () => {
  await later.stop();
  await rig.remove();
});

async function open(): Promise<void> {
  await rig.open([]);
  later = new LaterRuns({
    waiting: (keys) => rig.store.laterRuns(keys),
    end: (id, state) => rig.store.endLater(id, state),
    record: (trigger, events, ending) => rig.recorder.recordStarting(trigger, events, { later: ending }),
    refusal: () => refusal,
    room: () => rig.room(),
    clock: rig.clock,
    log: silentLogger(),
  });
  await later.start();
}

async function putOff(run: string, name: string, rest: Partial<LaterRun> = {}): Promise<void> {
  const row: LaterRun = {
    ...{ id: `later-${name}`, key: `${run}/a+${name}`, pipeline: "p", params: { name }, byWall: false },
    ...{ dueMs: rig.clock.trusted() + MINUTE, plugin: "exec", run, step: "a", rule: null },
    ...{ cause: "e-1", hops: 3, createdMs: 0 },
    ...rest,
  };
  const done = await rig.store.changeRun({
    runId: run,
    guards: [],
    steps: [],
    newLaters: [row],
    records: [],
  });
  expect(done).toBe(true);
  later.added([row]);
  await settled();
}

const started = async () =>
  (await rig.runs())
    .filter(({ starter }) => starter.kind === "schedule")
    .map(({ params }) => (params as { name: string }).name);

async function restartAfter(ms: number): Promise<void> {
  await later.stop();
  await rig.close();
  await rig.clock.advance(ms);
  await open();
  await rig.clock.advance(SECOND);
}

describe("a run that is put off", () => {
  test("starts once when it is due, with its event, as a child of who asked", async () => {
    await open();
    const run = await rig.someRun();
    await putOff(run, "one");
    expect(later.list()).toMatchObject([{ row: { id: "later-one" }, atMs: rig.clock.wall() + MINUTE }]);
    await rig.clock.advance(MINUTE - 1);
    expect(await started()).toEqual([]);
    await rig.clock.advance(SECOND);
    expect(await started()).toEqual(["one"]);
    expect((await rig.runs()).at(-1)).toMatchObject({
      starter: { kind: "schedule", by: "later-one" },
      parent: { run, step: "a", key: `${run}/a+one` },
      eventId: "later-one",
    });
    expect((await rig.events()).at(-1)).toMatchObject({
      source: "urn:holdfast:agent:web-01/later",
      type: "schedule.due",
      subject: "p",
      causationid: "e-1",
      hops: 3,
      data: { run, step: "a", plugin: "exec" },
    });
    expect(later.list()).toEqual([]);
    await restartAfter(10 * MINUTE);
    expect(await started()).toEqual(["one"]);
  });

  test("survives a restart, and what was due meanwhile starts at once", async () => {
    await open();
    const run = await rig.someRun();
    await putOff(run, "soon");
    await putOff(run, "late", { dueMs: rig.clock.trusted() + 20 * MINUTE });
    await putOff(run, "moment", { dueMs: rig.clock.wall() + 30 * MINUTE, byWall: true });
    await restartAfter(10 * MINUTE);
    expect(await started()).toEqual(["soon"]);
    await rig.clock.advance(10 * MINUTE);
    expect(await started()).toEqual(["soon", "late"]);
    await rig.clock.advance(10 * MINUTE);
    expect(await started()).toEqual(["soon", "late", "moment"]);
  });

  test("asked for again by the same step, it is there once, also after its end", async () => {
    await open();
    const run = await rig.someRun();
    await putOff(run, "one");
    await putOff(run, "one", { id: "later-again" });
    expect(later.list().map(({ row }) => row.id)).toEqual(["later-one"]);
    await rig.clock.advance(2 * MINUTE);
    await putOff(run, "one", { id: "later-again" });
    await restartAfter(10 * MINUTE);
    expect(await started()).toEqual(["one"]);
  });

  test("a moment goes by the wall clock, a time from now does not", async () => {
    await open();
    const run = await rig.someRun();
    await putOff(run, "moment", { dueMs: rig.clock.wall() + 30 * MINUTE, byWall: true });
    await putOff(run, "delay", { dueMs: rig.clock.trusted() + 30 * MINUTE });
    rig.clock.jumpWall(40 * MINUTE);
    await rig.clock.advance(2 * SECOND);
    expect(await started()).toEqual(["moment"]);
  });

  test("is taken back by a part of its id, over restarts", async () => {
    await open();
    const run = await rig.someRun();
    await putOff(run, "one");
    await putOff(run, "two");
    await expect(later.cancel("later")).rejects.toThrow(/2 runs that are put off have ids like later/);
    await expect(later.cancel("none")).rejects.toThrow(/no run none is put off/);
    expect(await later.cancel("-one")).toBe("later-one");
    await restartAfter(10 * MINUTE);
    expect(await started()).toEqual(["two"]);
    expect(later.counters).toEqual({ started: 1, refused: 0, cancelled: 0 });
  });
});

describe("who asked for it must still be allowed to", () => {
  const problems = async () => (await rig.events()).map(({ data }) => (data as { problem?: string }).problem);

  test("its pipeline is gone", async () => {
    await open();
    await putOff(await rig.someRun(), "one");
    rig.pipelines.clear();
    await rig.clock.advance(2 * MINUTE);
    expect(await started()).toEqual([]);
    expect(await problems()).toEqual(["there is no pipeline p here"]);
    expect(later.counters.refused).toBe(1);
    rig.pipelines.add("p");
    await restartAfter(MINUTE);
    expect(await started()).toEqual([]);
  });

  test("the policy bans its plugin", async () => {
    await open();
    await putOff(await rig.someRun(), "one");
    refusal = "plugin exec: the policy blocks it";
    await rig.clock.advance(2 * MINUTE);
    expect(await started()).toEqual([]);
    expect(await problems()).toEqual(["plugin exec: the policy blocks it"]);
  });
});

describe("trouble", () => {
  test("a commit that fails is tried again, one that dies starts nothing twice", async () => {
    for (const kind of ["SQLITE_IOERR_WRITE", "crash"]) {
      for (const at of ["before", "after"] as const) {
        await open();
        const run = await rig.someRun();
        const name = `${kind} ${at}`;
        await putOff(run, name, { id: name });
        rig.store.order({ label: kind === "crash" ? "commit" : "later_runs.end", at, with: kind, skip: 0 });
        await rig.clock.advance(2 * MINUTE);
        if (rig.store.crashed) {
          rig.crash();
          void later.stop();
          await open();
          await rig.clock.advance(SECOND);
        }
        await rig.clock.advance(5 * SECOND);
        expect((await started()).filter((each) => each === name)).toHaveLength(1);
        await later.stop();
        await rig.close();
      }
    }
    await open();
  });

  test("there is room for so many", async () => {
    await open();
    expect(later.hasRoom(10_000)).toBe(true);
    expect(later.hasRoom(10_001)).toBe(false);
  });
});
