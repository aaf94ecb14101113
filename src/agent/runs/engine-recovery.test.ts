/** What a restart finds: every open run goes on, and what ended while nobody looked is passed on. */
import { expect, test } from "bun:test";
import type { Addition } from "../../model/pipeline.ts";
import type { AttemptOutcome } from "../../model/run-transitions.ts";
import { MemoryRunStore } from "../../testing/memory-run-store.ts";
import { pipeline as aPipeline, step as aStep } from "../../testing/definitions.ts";
import { type Act, failed, ok, runRig } from "../../testing/engine-rig.ts";
import { settled, VirtualClock } from "../../testing/virtual-clock.ts";

const never = () => new Promise<AttemptOutcome>(() => {});
const IDEMPOTENT = { effect: "idempotent" as const };

/** A run is begun by one engine, and goes on under another one over the same store. */
function twoLives(pipelines: Parameters<typeof runRig>[0], first: Act, second: Act) {
  const store = new MemoryRunStore();
  const clock = new VirtualClock();
  const before = runRig(pipelines, first, { store, clock });
  const next = () => {
    before.crash();
    return runRig(pipelines, second, { store, clock });
  };
  return { store, clock, before, next };
}

test("a foreach goes on with the items that are left", async () => {
  const definition = aPipeline([
    aStep("a", {
      ...IDEMPOTENT,
      foreach: { in: "[1, 2, 3, 4]", concurrency: 2 },
      with: { v: "${{ item.value }}" },
    }),
  ]);
  const { before, next, store } = twoLives(
    definition,
    ({ step, input }) => (step === "a[0]" ? ok(input.v) : never()),
    ({ input }) => ok(input.v!),
  );
  const id = before.start();
  await before.until("the third item", () => before.calls.length === 3);
  const after = next();
  expect(await after.engine.recover()).toEqual({ runs: 1, interrupted: 2 });
  await after.ended(id);
  expect(after.called().toSorted()).toEqual(["a[1]", "a[2]", "a[3]"]);
  expect(store.step(id, "a").output).toEqual([1, 2, 3, 4]);
});

test("a child run that ended while its parent was not told is passed on, and one that goes on is waited for", async () => {
  const pipelines = [
    aPipeline([aStep("sub", { work: "pipeline", action: "child" })], {
      output: { o: "${{ steps.sub.output }}" },
    }),
    aPipeline([aStep("a", IDEMPOTENT)], { name: "child", output: { v: "${{ steps.a.output }}" } }),
  ];
  for (const told of [true, false]) {
    const { before, next, store } = twoLives(pipelines, never, () => ok("out"));
    const id = before.start();
    await before.until("the child's step", () => before.calls.length === 1);
    const child = store.runs.get(store.step(id, "sub").extra!.child!)!;
    if (!told) {
      Object.assign(child.run, { state: "succeeded", output: { v: "out" } });
      child.steps[0]!.state = "succeeded";
    }
    const after = next();
    await after.engine.recover();
    const { run } = await after.ended(id);
    expect(run).toMatchObject({ state: "succeeded", output: { o: { v: "out" } } });
    expect(after.calls).toHaveLength(told ? 1 : 0);
  }
});

test("an attempt that runs again after a restart does not double the runs that it spawned before", async () => {
  const spawn: Addition = { kind: "spawn", action: "other", pipeline: true, with: {} };
  const pipelines = [aPipeline([aStep("A", IDEMPOTENT)]), aPipeline([aStep("alone")], { name: "other" })];
  const act =
    (then: () => AttemptOutcome | Promise<AttemptOutcome>): Act =>
    async (call) => {
      if (call.action !== "A") return ok();
      await call.add([spawn]);
      return await then();
    };
  const { before, next, store } = twoLives(
    pipelines,
    act(never),
    act(() => ok()),
  );
  const id = before.start();
  await before.until("the spawned run", () => before.calls.length === 2);
  const after = next();
  await after.engine.recover();
  await after.ended(id);
  await after.until("quiet", () => after.engine.openRuns === 0);
  expect(await store.childRuns(id)).toHaveLength(1);
  expect(after.called()).toEqual(["A"]);
});

test("steps that were added are run by the next life", async () => {
  const { before, next } = twoLives(
    aPipeline([aStep("A")]),
    async (call) => {
      if (call.action !== "A") return await never();
      await call.add([
        { kind: "add", action: "B", pipeline: false, with: { x: 1 } },
        { kind: "finally", action: "F", pipeline: false, with: {} },
      ]);
      return ok();
    },
    () => ok(),
  );
  const id = before.start();
  await before.until("the added step", () => before.calls.length === 2);
  const after = next();
  await after.engine.recover();
  expect((await after.ended(id)).run.state).toBe("failed");
  expect(after.calls.map(({ action }) => action)).toEqual(["F"]);
});

test("a run of a pipeline that is no longer configured ends by the version it began with", async () => {
  const { before, store, clock } = twoLives(
    aPipeline([aStep("a"), aStep("b", { needs: ["a"] })]),
    () => never(),
    () => ok(),
  );
  const id = before.start();
  const waiting = before.engine.build({
    pipeline: "p",
    starter: { kind: "manual", by: "local:0" },
    event: null,
    params: {},
  });
  await settled();
  store.keep(waiting);
  const after = runRig(aPipeline([aStep("x")], { name: "other" }), () => ok(), { store, clock });
  await after.engine.recover();
  expect((await after.ended(id)).run.state).toBe("failed");
  expect((await after.ended(waiting.run.id)).run.state).toBe("succeeded");
  await expect(after.engine.retry(id, "local:0")).rejects.toThrow("there is no pipeline p here");
});

test("retries wait for their time also after a restart", async () => {
  const retry = { attempts: 2, kind: "fixed" as const, initialMs: 10_000, maxMs: 60_000 };
  const { before, next, clock } = twoLives(
    aPipeline([aStep("a", { retry })]),
    () => failed(false),
    () => ok(),
  );
  const id = before.start();
  await settled();
  const after = next();
  await after.engine.recover();
  await clock.advance(9_000);
  expect(after.calls).toHaveLength(0);
  await clock.advance(2_000);
  expect((await after.ended(id)).run.state).toBe("succeeded");
});

test("stop lets steps end, then cuts them off and leaves their lease", async () => {
  const withMs = aPipeline([aStep("a", { with: { ms: "${{ params.ms }}" } }), aStep("b", { needs: ["a"] })]);
  const rig = runRig(withMs, async ({ input }, signal) => {
    await rig.clock.sleep(input.ms as number, signal).catch(() => {});
    if (!signal.aborted) return ok();
    return {
      kind: "unknown",
      error: { code: "cancelled", message: "cut off", retryable: true, started: true },
    };
  });
  const [quick, slow] = [rig.start({ ms: 50 }), rig.start({ ms: 5_000 })];
  await settled();
  const stopped = rig.engine.stop(1_000);
  await expect(rig.engine.start({ pipeline: "p", params: {}, by: "local:0" })).rejects.toThrow("stopping");
  await rig.clock.advance(2_000);
  await stopped;
  expect(rig.states(quick)).toEqual(["a succeeded", "b queued"]);
  expect(rig.states(slow)).toEqual(["a running", "b waiting"]);
  expect(rig.store.runs.get(slow)!.attempts).toMatchObject([{ state: "running" }]);
});

test("ten thousand open runs are taken up at once, and every one goes on", async () => {
  const definition = aPipeline([aStep("a", IDEMPOTENT), aStep("b", { needs: ["a"] })], { concurrency: 1000 });
  const { before, next, store } = twoLives(
    definition,
    () => never(),
    () => ok(),
  );
  const ids = Array.from({ length: 10_000 }, () => before.start());
  await settled();
  const after = next();
  const { runs, interrupted } = await after.engine.recover();
  expect([runs, interrupted]).toEqual([10_000, 64]);
  await after.until("all of them", () => after.engine.openRuns === 0);
  expect(ids.every((id) => store.runs.get(id)!.run.state === "succeeded")).toBe(true);
}, 60_000);
