/** Runs that come into being with their first lease: one commit, then the call. */
import { describe, expect, test } from "bun:test";
import type { PipelineDefinition, StepDefinition } from "../../model/pipeline.ts";
import type { AttemptOutcome } from "../../model/run-transitions.ts";
import { pipeline as aPipeline, step as aStep } from "../../testing/definitions.ts";
import { type Act, AN_EVENT, BY_RULE, failed, ok, runRig } from "../../testing/engine-rig.ts";
import { MemoryRunStore } from "../../testing/memory-run-store.ts";
import { settled } from "../../testing/virtual-clock.ts";

const never = () => new Promise<AttemptOutcome>(() => {});

/** An engine, and runs as the recorder of events makes them. */
function rigOf(definition: PipelineDefinition, act: Act, options: Parameters<typeof runRig>[2] = {}) {
  const rig = runRig(definition, act, options);
  const make = (params = {}) =>
    rig.engine.lease(
      rig.engine.build({ pipeline: definition.name, starter: BY_RULE, event: AN_EVENT, params }),
    );
  const commit = (made: ReturnType<typeof make>) => {
    rig.store.keep(made, AN_EVENT);
    rig.engine.admit([made]);
  };
  return { ...rig, make, commit };
}

describe("a first lease", () => {
  test("is stored with its run, and the action is called when that is durable, and not before", async () => {
    const rig = rigOf(aPipeline([aStep("a"), aStep("b", { needs: ["a"] })]), () => ok());
    const made = rig.make();
    expect(made).toMatchObject({
      run: { state: "running", startedMs: rig.clock.wall() },
      steps: [{ state: "running", attempts: 1, fence: 1 }, { state: "waiting" }],
      lease: {
        attempt: { stepId: "a", number: 1, fence: 1, state: "running" },
        sideEffect: { pipeline: "p" },
      },
    });
    expect(made.records.map(({ body }) => JSON.parse(body).state)).toEqual(["queued", "running", "running"]);
    await settled();
    expect(rig.calls).toEqual([]);
    rig.commit(made);
    expect(rig.called()).toEqual(["a"]);
    expect((await rig.ended(made.run.id)).run.state).toBe("succeeded");
    expect(rig.called()).toEqual(["a", "b"]);
    expect(rig.engine.counters).toMatchObject({ started: 1, attempts: 2, stale: 0 });
    expect(rig.store.changes.filter(({ attempt }) => attempt?.state === "running")).toHaveLength(1);
  });

  test("of a run that did not come into being gives back its places and its count", async () => {
    const definition = aPipeline([aStep("a")], { concurrency: 1 });
    const rig = rigOf(definition, () => ok(), { maxSteps: 1, maxSideEffects: 1 });
    for (let n = 0; n < 3; n++) {
      const made = rig.make();
      expect(made.lease).toBeDefined();
      expect(rig.engine.gauges()).toMatchObject({ stepsInFlight: 1, sideEffects: { used: 1 } });
      rig.engine.drop([made]);
      expect(rig.engine.gauges()).toMatchObject({ stepsInFlight: 0, sideEffects: { used: 0 } });
    }
    const last = rig.make();
    rig.commit(last);
    expect((await rig.ended(last.run.id)).run.state).toBe("succeeded");
    expect(rig.engine.gauges().sideEffects.used).toBe(1);
  });

  test("is had only where those who came before have a place as well", async () => {
    for (const [definition, options] of [
      [aPipeline([aStep("a")], { concurrency: 1 }), {}],
      [aPipeline([aStep("a")]), { maxSteps: 1 }],
    ] as const) {
      const rig = rigOf(definition, () => ok(), options);
      const [first, second] = [rig.make(), rig.make()];
      expect([first.lease !== undefined, second.lease]).toEqual([true, undefined]);
      rig.engine.drop([first]);
      // The place is free, but the second run is on its way to it.
      const third = rig.make();
      expect(third.lease).toBeUndefined();
      for (const made of [second, third]) rig.commit(made);
      for (const { run } of [second, third]) await rig.ended(run.id);
      expect(rig.calls.map(({ run }) => run)).toEqual([second.run.id, third.run.id]);
      expect(rig.make().lease).toBeDefined();
    }
  });

  test("of one branch leaves the others to their turn", async () => {
    const rig = rigOf(aPipeline([aStep("b"), aStep("a"), aStep("c")]), never, { maxSteps: 2 });
    rig.commit(rig.make());
    await settled();
    expect(rig.called()).toEqual(["b", "a"]);
  });
});

describe("a run goes the long way", () => {
  const ways: [string, Partial<StepDefinition>, Partial<PipelineDefinition>][] = [
    ["a condition", { when: "true" }, {}],
    ["a list", { foreach: { in: "[1]", concurrency: 1 } }, {}],
    ["a lock of the step", { exclusive: { lock: "l", busy: "queue" } }, {}],
    ["a lock of the run", {}, { exclusive: { lock: "l", busy: "queue" } }],
    ["a key", {}, { concurrencyByKey: { key: "k", limit: 2 } }],
  ];
  test.each(ways)("with %s", async (_, step, pipeline) => {
    const rig = rigOf(aPipeline([aStep("a", step)], pipeline), () => ok());
    const made = rig.make();
    expect(made).toMatchObject({ run: { state: "queued" }, steps: [{ state: "queued", attempts: 0 }] });
    expect(made.lease).toBeUndefined();
    rig.commit(made);
    expect((await rig.ended(made.run.id)).run.state).toBe("succeeded");
  });

  test("with a question, and with an input that cannot be made, which costs no attempt", async () => {
    const approval = { text: "sure?", approvers: ["*"], strict: false, timeoutMs: 1000 };
    const asking = rigOf(aPipeline([aStep("a", { work: "approval", approval })]), never);
    expect(asking.make().lease).toBeUndefined();
    const rig = rigOf(aPipeline([aStep("a", { with: { x: "${{ event.data.nope }}" } })]), never);
    const made = rig.make();
    expect(made.lease).toBeUndefined();
    rig.commit(made);
    const { steps } = await rig.ended(made.run.id);
    expect(steps).toMatchObject([{ state: "failed", attempts: 0, error: { code: "input" } }]);
    expect(rig.engine.gauges()).toMatchObject({ stepsInFlight: 0, sideEffects: { used: 0 } });
  });

  test("with a circuit that is not closed, over a cap, and while the agent stops", async () => {
    const breaker = { destination: "d", failures: 1, delayMs: 1000 };
    const open = rigOf(aPipeline([aStep("a", { breaker })]), () => failed(true));
    const made = open.make();
    expect(made.lease).toBeDefined();
    open.commit(made);
    await open.ended(made.run.id);
    expect(open.make().lease).toBeUndefined();

    const capped = rigOf(aPipeline([aStep("a")], { sideEffectsPerHour: 1 }), never);
    expect([capped.make().lease !== undefined, capped.make().lease]).toEqual([true, undefined]);

    const stopping = rigOf(aPipeline([aStep("a")]), never);
    void stopping.engine.stop(1000);
    expect(stopping.make().lease).toBeUndefined();
  });

  test("when it is a part of another run: the store may leave it out, and does not tell", () => {
    const { engine } = runRig(aPipeline([aStep("a")]), never);
    const parent = { run: "r", step: "a", key: "r/a" };
    const asked = { pipeline: "p", starter: BY_RULE, event: AN_EVENT, params: {}, parent };
    expect(engine.lease(engine.build(asked)).lease).toBeUndefined();
  });
});

describe("before the commit has returned", () => {
  test("the run cannot be cancelled; after it, its attempt is stopped", async () => {
    const rig = rigOf(
      aPipeline([aStep("a")]),
      (_, signal) =>
        new Promise((resolve) =>
          signal.addEventListener("abort", () => resolve(failed(true)), { once: true }),
        ),
    );
    const made = rig.make();
    await expect(rig.engine.cancel(made.run.id, "local:0", "no")).rejects.toThrow("there is no open run");
    rig.commit(made);
    await rig.engine.cancel(made.run.id, "local:0", "no");
    expect((await rig.ended(made.run.id)).steps).toMatchObject([{ state: "cancelled", attempts: 1 }]);
  });

  test("an agent that stops waits for it, and for the action", async () => {
    const rig = rigOf(aPipeline([aStep("a"), aStep("b", { needs: ["a"] })]), () => ok());
    const made = rig.make();
    let stopped = false;
    const stopping = rig.engine.stop(1000).then(() => (stopped = true));
    await settled();
    expect(stopped).toBe(false);
    rig.commit(made);
    await stopping;
    expect(rig.called()).toEqual(["a"]);
    expect(rig.states(made.run.id)).toEqual(["a succeeded", "b queued"]);
  });

  test("an agent that gives up calls nothing any more: the lease stays for the next start", async () => {
    const rig = rigOf(aPipeline([aStep("a")]), () => ok());
    const made = rig.make();
    const stopping = rig.engine.stop(0);
    expect(rig.clock.runNext()).toBe(true);
    rig.commit(made);
    await stopping;
    expect(rig.calls).toEqual([]);
    expect(rig.states(made.run.id)).toEqual(["a running"]);
  });

  test("a crash leaves an attempt that nobody saw end: it runs again, or is uncertain", async () => {
    for (const [effect, states, again] of [
      ["idempotent", ["a succeeded"], 1],
      ["at-most-once", ["a uncertain"], 0],
    ] as const) {
      const definition = aPipeline([aStep("a", { effect })]);
      const store = new MemoryRunStore();
      const before = rigOf(definition, never, { store });
      const made = before.make();
      store.keep(made, AN_EVENT);
      before.crash();
      const after = runRig(definition, () => ok(), { store });
      expect(await after.engine.recover()).toEqual({ runs: 1, interrupted: 1 });
      expect(after.engine.gauges().sideEffects.used).toBe(1);
      await after.ended(made.run.id);
      expect(after.states(made.run.id)).toEqual([...states]);
      expect(after.calls.map(({ attempt }) => attempt)).toEqual(again === 1 ? [2] : []);
    }
  });
});
