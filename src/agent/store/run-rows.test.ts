import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { LANES } from "../../model/record.ts";
import type { DeadLetter, RunRow } from "../../model/run.ts";
import type { RunChange } from "./port.ts";
import {
  commitOf,
  DEFINITION,
  eventOf,
  failure,
  type Fixture,
  fixture,
  idsOf,
  readLane,
  runRecordOf,
  SOURCE,
  startOf,
  stepOf,
} from "./store-fixtures.ts";

let place: Fixture;
beforeEach(() => {
  place = fixture();
});
afterEach(() => place.end());

const MANUAL: Partial<RunRow> = { rule: null, starter: { kind: "manual", by: "local:1000" } };

function changeOf(runId: string, more: Partial<RunChange>): RunChange {
  return { runId, guards: [], steps: [], records: [], ...more };
}

function childOf(parent: string, step: string): Partial<RunRow> {
  return { starter: { kind: "parent", by: parent }, parent: { run: parent, step, key: `${parent}/${step}` } };
}

function letterOf(runId: string, more: Partial<DeadLetter> = {}): DeadLetter {
  const error = { message: "no", code: "failed", retryable: false, started: true };
  const errors = [{ step: "first", attempt: 1, atMs: 3, error }];
  return {
    runId,
    pipeline: "react",
    rule: null,
    params: { level: 3 },
    state: "failed",
    reason: "step first is failed",
    errors,
    createdMs: 9,
    ...more,
  };
}

describe("runs without an event", () => {
  test("come back as they were, with every field", async () => {
    const store = await place.open();
    const start = startOf("run-1", null, {
      ...MANUAL,
      params: [1, { deep: null }],
      priority: 7,
      concurrencyKey: "web-01",
      parent: { run: "above", step: "call", key: "above/call" },
      retryOf: "run-0",
      stop: { state: "cancelled", by: "local:0", reason: "enough" },
      deadlineMs: 99,
      output: { sum: 3 },
      startedMs: 6,
    });
    start.steps[1] = {
      ...stepOf("run-1", "second", 1),
      waits: "approval",
      extra: { deadlineMs: 12, approval: { text: "sure?", approvers: ["*"], strict: true } },
    };
    await store.startRuns([start]);
    await store.close();
    const again = await place.open();
    const [open] = await again.openRuns();
    expect(open).toEqual({ run: start.run, steps: start.steps, definition: DEFINITION, event: null });
    expect(await again.run("run-1")).toEqual({
      number: 1,
      run: start.run,
      steps: start.steps,
      attempts: [],
      definition: DEFINITION,
    });
    expect(idsOf(await readLane(again, LANES.results))).toEqual(["run-1"]);
  });

  test("one with its first lease is there as if it had come first and been leased then", async () => {
    const store = await place.open();
    const attempt = {
      runId: "run-1",
      stepId: "first",
      number: 1,
      fence: 1,
      state: "running" as const,
      startedMs: 7,
    };
    const lease = {
      attempt: { ...attempt, endedMs: null, error: null },
      sideEffect: { minute: 3, pipeline: "react" },
    };
    const start = startOf("run-1", "e-0");
    Object.assign(start.run, { state: "running", startedMs: 7 });
    Object.assign(start.steps[0]!, { state: "running", attempts: 1, fence: 1, startedMs: 7 });
    const twice = commitOf(["e-0", "e-0"], {
      runs: [
        { event: 0, start: { ...start, lease } },
        { event: 1, start: { ...startOf("left-out", "e-0"), lease } },
      ],
    });
    expect(await store.commitEvents(twice)).toEqual({ duplicates: [1] });
    expect(await store.sideEffects(0)).toEqual([{ minute: 3, pipeline: "react", count: 1 }]);
    const found = (await store.run("run-1"))!;
    expect(found).toMatchObject({ run: start.run, steps: start.steps, attempts: [lease.attempt] });
    expect(await store.run("left-out")).toBeNull();
    const ended = (fence: number) =>
      store.changeRun(
        changeOf("run-1", {
          guards: [{ stepId: "first", fence, state: "running" }],
          steps: [{ stepId: "first", state: "succeeded" }],
          attempt: { ...lease.attempt, state: "succeeded", endedMs: 9 },
        }),
      );
    expect([await ended(0), await ended(1), await ended(1)]).toEqual([false, true, false]);
    expect((await store.run("run-1"))!.attempts).toMatchObject([{ number: 1, state: "succeeded" }]);
  });

  test("one that repeats another keeps its event", async () => {
    const store = await place.open();
    await store.commitEvents(commitOf(["e-0"]));
    await store.startRuns([startOf("again", "e-0"), startOf("gone", "e-1")]);
    const open = await store.openRuns();
    expect(open.map(({ event }) => event)).toEqual([JSON.parse(eventOf("e-0").body), null]);
  });

  test("one whose parent key is there already is left out, with its records", async () => {
    const store = await place.open();
    const child = (id: string) => startOf(id, null, childOf("run-1", "call"));
    await store.startRuns([startOf("run-1", null, MANUAL), child("child-1")]);
    const other = startOf("spawned", null, childOf("run-1", "call+1"));
    const change = changeOf("run-1", {
      newRuns: [child("child-2"), other],
      records: [runRecordOf("changed")],
    });
    expect(await store.changeRun(change)).toBe(true);
    await store.startRuns([child("child-3")]);
    expect((await store.childRuns("run-1")).map((run) => run.id)).toEqual(["child-1", "spawned"]);
    expect(idsOf(await readLane(store, LANES.results))).toEqual(["run-1", "child-1", "changed", "spawned"]);
  });

  test("a pipeline version that was rolled back with its run is sent again", async () => {
    const store = await place.open({ faults: [{ label: "runs.insert", at: "after", with: "SQLITE_FULL" }] });
    expect(await failure(store.startRuns([startOf("run-1", null)]))).toMatchObject({ code: "exhausted" });
    await store.startRuns([startOf("run-1", null)]);
    await store.startRuns([startOf("run-2", null)]);
    expect((await store.openRuns()).map(({ definition }) => definition)).toEqual([DEFINITION, DEFINITION]);
  });
});

describe("a change of a run", () => {
  test("takes steps out, brings others in, and keeps parts in their order", async () => {
    const store = await place.open();
    await store.startRuns([startOf("run-1", null)]);
    const added = { ...stepOf("run-1", "first+1", 2), extra: { addedBy: { step: "first", attempt: 1 } } };
    const last = { ...stepOf("run-1", "tell", 0), part: "on_failure" as const };
    const before = { ...stepOf("run-1", "tidy", 1), part: "finally" as const };
    await store.changeRun(changeOf("run-1", { newSteps: [added, last, before] }));
    const guard = { stepId: "first+1", fence: 0, state: "waiting" as const };
    await store.changeRun(changeOf("run-1", { guards: [guard], removedSteps: ["first+1"] }));
    expect(await store.changeRun(changeOf("run-1", { guards: [guard] }))).toBe(false);
    const again = { ...added, extra: { addedBy: { step: "first", attempt: 2 } } };
    await store.changeRun(changeOf("run-1", { removedSteps: ["second"], newSteps: [again] }));
    const { steps } = (await store.run("run-1"))!;
    expect(steps.map((step) => step.stepId)).toEqual(["first", "first+1", "tidy", "tell"]);
    expect(steps[1]).toEqual(again);
    expect((await store.openRuns())[0]!.steps).toEqual(steps);
  });

  test("a patch sets what it names and leaves the rest", async () => {
    const store = await place.open();
    await store.startRuns([startOf("run-1", null)]);
    const first = {
      stepId: "first",
      state: "waiting" as const,
      waits: "lock" as const,
      output: [1],
      reason: "busy",
    };
    await store.changeRun(changeOf("run-1", { steps: [first] }));
    const extra = { foreach: { step: "first", index: 0, value: { a: 1 } } };
    const second = { stepId: "first", state: "queued" as const, waits: null, extra };
    const guard = { stepId: "first", fence: 0, state: "waiting" as const };
    expect(await store.changeRun(changeOf("run-1", { guards: [guard], steps: [second] }))).toBe(true);
    expect((await store.run("run-1"))!.steps[0]).toEqual({
      ...stepOf("run-1", "first", 0),
      output: [1],
      reason: "busy",
      extra,
    });
    const stop = { state: "timed_out" as const, by: "deadline", reason: "too late" };
    await store.changeRun(changeOf("run-1", { run: { stop, deadlineMs: 50, output: { a: null } } }));
    const { run } = (await store.run("run-1"))!;
    expect(run).toEqual({ ...startOf("run-1", null).run, stop, deadlineMs: 50, output: { a: null } });
  });

  test("of a step that is not there changes nothing", async () => {
    const store = await place.open();
    await store.startRuns([startOf("run-1", null)]);
    const steps = [
      { stepId: "first", state: "running" as const },
      { stepId: "none", state: "running" as const },
    ];
    const error = await failure(store.changeRun(changeOf("run-1", { steps, unlock: true })));
    expect(error).toMatchObject({ code: "not_found" });
    expect(error.message).toContain("run run-1 has no step none");
    expect((await store.run("run-1"))!.steps[0]!.state).toBe("queued");
  });

  test("guards look at what the database has, also after a roll-back and a restart", async () => {
    const fault = { label: "steps.update", at: "after" as const, with: "SQLITE_IOERR_WRITE" };
    const first = await place.open({ faults: [fault] });
    await first.startRuns([startOf("run-1", null)]);
    const guards = [{ stepId: "first", fence: 0, state: "queued" as const }];
    const lease = changeOf("run-1", { guards, steps: [{ stepId: "first", state: "running", fence: 1 }] });
    expect(await failure(first.changeRun(lease))).toMatchObject({ code: "failed" });
    expect(await first.changeRun(lease)).toBe(true);
    expect(await first.changeRun(lease)).toBe(false);
    await first.close();
    const store = await place.open();
    expect(await store.changeRun(lease)).toBe(false);
    const ended = changeOf("run-1", { run: { state: "succeeded" } });
    expect(await store.changeRun(ended)).toBe(true);
    expect(await store.changeRun(lease)).toBe(false);
  });
});

describe("locks", () => {
  test("have places in the order in which they were taken, one a run, until it gives them up", async () => {
    const store = await place.open();
    const runs = ["a", "b", "c"];
    await store.startRuns(runs.map((id) => startOf(id, null)));
    const lock = { namespace: "default", lock: "disk" };
    for (const id of ["b", "a", "b", "c"]) await store.changeRun(changeOf(id, { lock }));
    await store.changeRun(changeOf("b", { lock: { namespace: "other", lock: "disk" } }));
    const queue = async () => (await store.lockPlaces()).map((p) => `${p.namespace} ${p.lock} ${p.runId}`);
    expect(await queue()).toEqual(["default disk b", "default disk a", "default disk c", "other disk b"]);
    await store.changeRun(changeOf("b", { unlock: true, run: { state: "succeeded" } }));
    await store.changeRun(changeOf("a", { lock }));
    await store.close();
    const again = await place.open();
    const places = await again.lockPlaces();
    expect(places.map((p) => p.runId)).toEqual(["a", "c"]);
    expect(places[0]!.n).toBeLessThan(places[1]!.n);
  });
});

describe("dead letters", () => {
  async function withLetter() {
    const store = await place.open();
    await store.startRuns([startOf("run-1", null, MANUAL)]);
    const run = { state: "failed" as const, endedMs: 9 };
    await store.changeRun(changeOf("run-1", { run, dead: letterOf("run-1") }));
    return store;
  }

  test("are written with the end of the run, listed the newest first, edited", async () => {
    const store = await withLetter();
    await store.startRuns([startOf("run-2", null)]);
    await store.changeRun(changeOf("run-2", { dead: letterOf("run-2", { rule: "errors" }) }));
    expect(await store.deadLetter("run-1")).toEqual(letterOf("run-1"));
    const list = await store.deadLetters(10);
    expect(list.map((letter) => letter.runId)).toEqual(["run-2", "run-1"]);
    expect((await store.deadLetters(10, list[0]!.number)).map((letter) => letter.runId)).toEqual(["run-1"]);
    expect(await store.editDeadLetter("run-1", { level: 4 })).toBe(true);
    expect(await store.editDeadLetter("none", {})).toBe(false);
    expect((await store.deadLetter("run-1"))!.params).toEqual({ level: 4 });
    expect((await store.stats()).deadLetters).toBe(2);
  });

  test("one is dropped in the transaction that begins its retry, once", async () => {
    const store = await withLetter();
    const retry = startOf("run-2", null, { ...MANUAL, retryOf: "run-1" });
    expect(await store.dropDeadLetter("run-1", retry)).toBe(true);
    expect(await store.dropDeadLetter("run-1", startOf("run-3", null))).toBe(false);
    expect(await store.deadLetter("run-1")).toBeNull();
    expect((await store.openRuns()).map(({ run }) => run.id)).toEqual(["run-2"]);
  });

  test("a retry that cannot begin leaves the letter", async () => {
    const store = await withLetter();
    expect(await failure(store.dropDeadLetter("run-1", startOf("run-1", null)))).toMatchObject({
      code: "conflict",
    });
    expect(await store.deadLetter("run-1")).toEqual(letterOf("run-1"));
    expect(await store.dropDeadLetter("run-1")).toBe(true);
  });
});

describe("what is asked of runs", () => {
  const ids = ["01940000-aaaa-7000-8000-00000000beef", "01940000-bbbb-7000-8000-00000000cafe"];

  test("one is found by its id, its beginning or its end, when that fits one only", async () => {
    const store = await place.open();
    await store.startRuns(ids.map((id) => startOf(id, null)));
    for (const text of [ids[0]!, "01940000-a", "beef"]) expect((await store.run(text))!.run.id).toBe(ids[0]!);
    for (const text of ["eef", "019400001", "%", "_____", "", "\uffff\uffff\uffff\uffff"])
      expect(await store.run(text)).toBeNull();
    const error = await failure(store.run("01940000"));
    expect(error).toMatchObject({ code: "conflict" });
    expect(error.message).toContain(`${ids[1]} and ${ids[0]}`);
  });

  test("lists are filtered, the newest first, and go on before a number", async () => {
    const store = await place.open();
    for (const [i, pipeline] of ["a", "b", "a", "b", "a"].entries())
      await store.startRuns([startOf(`run-${i}`, null, { pipeline })]);
    await store.changeRun(changeOf("run-0", { run: { state: "failed" } }));
    await store.changeRun(changeOf("run-3", { run: { state: "running" } }));
    const list = async (filter: object) =>
      (await store.runs({ limit: 10, ...filter })).map(({ number, run }) => `${number} ${run.id}`);
    expect(await list({})).toEqual(["5 run-4", "4 run-3", "3 run-2", "2 run-1", "1 run-0"]);
    expect(await list({ pipeline: "a" })).toEqual(["5 run-4", "3 run-2", "1 run-0"]);
    expect(await list({ pipeline: "a", open: true, before: 5 })).toEqual(["3 run-2"]);
    expect(await list({ open: false })).toEqual(["1 run-0"]);
    expect(await list({ state: "running" })).toEqual(["4 run-3"]);
    expect(await list({ limit: 2 })).toEqual(["5 run-4", "4 run-3"]);
  });

  test("side effects are counted by minute and pipeline, over restarts, and go after an hour", async () => {
    let store = await place.open();
    await store.startRuns([startOf("run-0", null)]);
    const count = (minute: number, pipeline: string) =>
      store.changeRun(changeOf("run-0", { sideEffect: { minute, pipeline } }));
    for (const pipeline of ["react", "below", "react"]) await count(100, pipeline);
    await count(130, "react");
    await store.close();
    store = await place.open();
    await count(100, "react");
    const early = [
      { minute: 100, pipeline: "below", count: 1 },
      { minute: 100, pipeline: "react", count: 3 },
    ];
    const later = { minute: 130, pipeline: "react", count: 1 };
    expect(await store.sideEffects(100)).toEqual([...early, later]);
    expect(await store.sideEffects(101)).toEqual([later]);
    await count(161, "react");
    expect(await store.sideEffects(0)).toHaveLength(4);
    await count(162, "react");
    expect((await store.sideEffects(0)).map(({ minute }) => minute)).toEqual([130, 161, 162]);
    expect(await store.setting("side_effects")).toBeUndefined();
  });

  test("a change that is refused counts no side effect", async () => {
    const store = await place.open();
    await store.startRuns([startOf("run-0", null)]);
    const guards = [{ stepId: "first", fence: 7, state: "queued" as const }];
    const sideEffect = { minute: 1, pipeline: "react" };
    expect(await store.changeRun(changeOf("run-0", { guards, sideEffect }))).toBe(false);
    expect(await store.sideEffects(0)).toEqual([]);
  });

  test("thousands of open runs come whole, in their order", async () => {
    const store = await place.open();
    const starts = Array.from({ length: 2345 }, (_, i) => startOf(`run-${i}`, null));
    await store.startRuns(starts);
    const open = await store.openRuns();
    expect(open.map(({ run }) => run.id)).toEqual(starts.map(({ run }) => run.id));
    expect(open.at(-1)!.steps).toEqual(starts.at(-1)!.steps);
    expect(open[0]!.definition).toBe(open.at(-1)!.definition);
  });
});

test("events are known by source and id, and listed by what they are", async () => {
  const store = await place.open();
  await store.commitEvents(commitOf(["a", "b", "c"]));
  const other = { ...eventOf("d"), type: "disk.low", source: "elsewhere" };
  await store.commitEvents({ ...commitOf([]), events: [other] });
  expect((await store.knownEvents(SOURCE, ["c", "d", "a", "'"])).toSorted()).toEqual(["a", "c"]);
  expect(await store.knownEvents("nowhere", ["a"])).toEqual([]);
  const list = async (filter: object) => (await store.events({ limit: 10, ...filter })).map(({ n }) => n);
  expect(await list({})).toEqual([4, 3, 2, 1]);
  expect(await list({ type: "log.line", before: 3 })).toEqual([2, 1]);
  expect(await list({ after: 1, limit: 2 })).toEqual([2, 3]);
  expect(await list({ source: "elsewhere" })).toEqual([4]);
});
