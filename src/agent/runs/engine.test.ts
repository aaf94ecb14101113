import { describe, expect, test } from "bun:test";
import { systemClock } from "../../core/clock.ts";
import { systemIds } from "../../core/ids.ts";
import { silentLogger } from "../../core/logger.ts";
import type { CloudEvent } from "../../model/event.ts";
import type { Effect, PipelineDefinition, StepDefinition } from "../../model/pipeline.ts";
import { hasEnded, type OpenRun, type StepRow } from "../../model/run.ts";
import type { NewRun } from "../../model/run-build.ts";
import type { AttemptOutcome } from "../../model/run-transitions.ts";
import { RunEngine } from "./engine.ts";
import type { ActionCall, RunChange } from "./ports.ts";

/** The store's contract in memory: guards hold or nothing happens. */
class MemoryStore {
  runs = new Map<string, OpenRun>();
  changes: RunChange[] = [];
  failNext = 0;

  keep(made: NewRun, event: CloudEvent | null) {
    this.runs.set(made.run.id, structuredClone({ ...made, event }));
  }

  async changeRun(change: RunChange): Promise<boolean> {
    await Promise.resolve();
    if (this.failNext > 0) {
      this.failNext--;
      throw new Error("no space left on device");
    }
    const open = this.runs.get(change.runId)!;
    for (const guard of change.guards) {
      const step = open.steps.find((row) => row.stepId === guard.stepId)!;
      if (step.fence !== guard.fence || step.state !== guard.state) return false;
    }
    for (const patch of change.steps)
      Object.assign(
        open.steps.find((row) => row.stepId === patch.stepId)!,
        structuredClone(patch),
      );
    open.steps.push(...structuredClone(change.newSteps ?? []));
    Object.assign(open.run, change.run);
    this.changes.push(structuredClone(change));
    return true;
  }

  async openRuns(): Promise<OpenRun[]> {
    return structuredClone([...this.runs.values()].filter((open) => !hasEnded(open.run.state)));
  }

  step(runId: string, stepId: string): StepRow {
    return this.runs.get(runId)!.steps.find((row) => row.stepId === stepId)!;
  }
}

function step(id: string, options: Partial<StepDefinition> = {}): StepDefinition {
  const retry = { attempts: 1, kind: "fixed" as const, initialMs: 1, maxMs: 1 };
  return { id, action: id, needs: [], with: {}, timeoutMs: 1000, retry, effect: "at-most-once", ...options };
}

function pipeline(steps: StepDefinition[], options: Partial<PipelineDefinition> = {}): PipelineDefinition {
  return { name: "p", namespace: "default", concurrency: 4, steps, onFailure: [], ...options };
}

const event: CloudEvent = {
  specversion: "1.0",
  id: "1",
  source: "s",
  type: "t",
  time: "2026-01-01T00:00:00Z",
  data: { n: 7 },
};
const failure = (started: boolean, retryable = true): AttemptOutcome => ({
  kind: "error",
  error: { code: "failed", message: "no", retryable, started },
});
const unknown: AttemptOutcome = {
  kind: "unknown",
  error: { code: "crashed", message: "worker died", retryable: true, started: true },
};
const ok = (output: string | number = "done"): AttemptOutcome => ({ kind: "ok", output });

function setUp(
  definition: PipelineDefinition,
  act: (call: ActionCall) => AttemptOutcome | Promise<AttemptOutcome>,
  store = new MemoryStore(),
) {
  const calls: ActionCall[] = [];
  const engine = new RunEngine({
    store,
    actions: {
      invoke: async (call) => {
        calls.push(call);
        return await act(call);
      },
    },
    pipelines: new Map([["p", definition]]),
    agent: { id: "web-01", labels: {} },
    clock: systemClock(),
    ids: systemIds(),
    log: silentLogger(),
    maxSteps: 8,
    maxOutputBytes: 1000,
    maxOpenRuns: 100,
  });
  const start = (params = {}) => {
    const made = engine.build("p", "rule", event, params);
    store.keep(made, event);
    engine.admit([made]);
    return made.run.id;
  };
  const ended = async (id: string) => {
    while (!hasEnded(store.runs.get(id)!.run.state)) await new Promise((resolve) => setImmediate(resolve));
    return store.runs.get(id)!;
  };
  return { engine, store, calls, start, ended };
}

describe("a run", () => {
  test("goes through its steps in the order of their needs, outputs feeding inputs", async () => {
    const definition = pipeline([
      step("c", {
        needs: ["a", "b"],
        with: { sum: "${{ steps.a.output + steps.b.output + event.data.n }}" },
      }),
      step("a"),
      step("b", { needs: ["a"], with: { p: "${{ params.x }}" } }),
    ]);
    const { start, ended, calls } = setUp(definition, (call) => ok(call.step === "a" ? 1 : 2));
    const { run } = await ended(start({ x: "y" }));
    expect(run.state).toBe("succeeded");
    expect(calls.map((call) => call.step)).toEqual(["a", "b", "c"]);
    expect(calls[1]!.input).toEqual({ p: "y" });
    expect(calls[2]!.input).toEqual({ sum: 10 });
    expect(calls[2]!.key).toBe(`${run.id}/c`);
  });

  test("a failed step skips what needs it, then on_failure gets the facts, then the run is failed", async () => {
    const definition = pipeline([step("a"), step("b", { needs: ["a"] }), step("c", { needs: ["b"] })], {
      onFailure: [
        step("tell", { with: { why: "${{ failure.step }}: ${{ failure.message }}" } }),
        step("tell2", { needs: ["tell"] }),
      ],
    });
    const { start, ended, calls } = setUp(definition, (call) => (call.step === "c" ? ok() : failure(true)));
    const { run, steps } = await ended(start());
    expect(run).toMatchObject({ state: "failed", reason: "step a is failed" });
    expect(steps.map((row) => [row.stepId, row.state])).toEqual([
      ["a", "failed"],
      ["b", "skipped"],
      ["c", "skipped"],
      ["tell", "failed"],
      ["tell2", "failed"],
    ]);
    expect(calls.find((call) => call.step === "tell")!.input).toEqual({ why: "a: no" });
  });

  test("an input that cannot be made fails its step without an attempt", async () => {
    const { start, ended, calls } = setUp(
      pipeline([step("a", { with: { x: "${{ event.data.nope }}" } })]),
      () => ok(),
    );
    const { steps } = await ended(start());
    expect(calls).toHaveLength(0);
    expect(steps[0]).toMatchObject({
      state: "failed",
      attempts: 0,
      error: { code: "input", started: false },
    });
    expect(steps[0]!.error!.message).toContain("with.x: ${{ event.data.nope }}: No such key: nope");
  });

  test("runs over the pipeline's limit wait their turn", async () => {
    let active = 0;
    let most = 0;
    const { start, ended } = setUp(
      pipeline([step("a"), step("b", { needs: ["a"] })], { concurrency: 2 }),
      async () => {
        most = Math.max(most, ++active);
        await new Promise((resolve) => setImmediate(resolve));
        active--;
        return ok();
      },
    );
    for (const id of Array.from({ length: 10 }, () => start()))
      expect((await ended(id)).run.state).toBe("succeeded");
    expect(most).toBe(2);
  });

  test("a full disk delays a result, it does not lose it", async () => {
    const { start, ended, store, calls } = setUp(pipeline([step("a")]), () => {
      store.failNext = 2;
      return ok();
    });
    expect((await ended(start())).run.state).toBe("succeeded");
    expect(calls).toHaveLength(1);
  });

  test("a large output is cut and says so", async () => {
    const { start, ended } = setUp(pipeline([step("a")]), () => ok("x".repeat(5000)));
    expect((await ended(start())).steps[0]!.output).toMatchObject({ truncated: true, bytes: 5002 });
  });
});

describe("effects", () => {
  const table: [Effect, AttemptOutcome[], string, string, number][] = [
    ["idempotent", [unknown, ok()], "succeeded", "succeeded", 2],
    ["at-most-once", [unknown], "uncertain", "failed", 1],
    ["at-most-once", [failure(true)], "failed", "failed", 1],
    ["at-most-once", [failure(false), failure(false), ok()], "succeeded", "succeeded", 3],
    ["at-most-once", [failure(false), failure(true)], "failed", "failed", 2],
    ["idempotent", [failure(true), failure(true), failure(true)], "failed", "failed", 3],
    ["idempotent", [failure(true, false)], "failed", "failed", 1],
    ["idempotent", Array.from({ length: 10 }, () => unknown), "uncertain", "failed", 10],
  ];
  test.each(table)("%s, case %#", async (effect, outcomes, stepState, runState, attempts) => {
    const retry = { attempts: 3, kind: "fixed" as const, initialMs: 1, maxMs: 1 };
    const rest = [...outcomes];
    const { start, ended, calls } = setUp(pipeline([step("a", { effect, retry })]), () => rest.shift()!);
    const { run, steps } = await ended(start());
    expect([steps[0]!.state, run.state, calls.length]).toEqual([
      stepState as StepRow["state"],
      runState as StepRow["state"],
      attempts,
    ]);
    expect(new Set(calls.map((call) => call.key)).size).toBe(1);
    expect(calls.map((call) => call.attempt)).toEqual(calls.map((_, index) => index + 1));
  });

  test("ask waits for a person, who may let it run again or leave it uncertain", async () => {
    const outcomes = [unknown, ok(), unknown];
    const { engine, start, ended, store } = setUp(pipeline([step("a", { effect: "ask" })]), () =>
      outcomes.shift()!,
    );
    const waits = async (id: string) => {
      while (engine.asking()[0]?.run !== id) await new Promise((resolve) => setImmediate(resolve));
    };
    const first = start();
    await waits(first);
    await expect(engine.decide(first, "nope", true, "me")).rejects.toThrow("no open run");
    await engine.decide(first, "a", true, "local:0");
    expect((await ended(first)).run.state).toBe("succeeded");
    const second = start();
    await waits(second);
    await engine.decide(second, "a", false, "local:0");
    expect((await ended(second)).run.state).toBe("failed");
    expect(store.step(second, "a")).toMatchObject({ state: "uncertain", attempts: 1 });
    expect(store.step(second, "a").reason).toContain("denied by local:0");
  });
});

describe("recovery", () => {
  async function crashed(effect: Effect) {
    const store = new MemoryStore();
    const definition = pipeline([step("a", { effect }), step("b", { needs: ["a"] })]);
    const never = new Promise<AttemptOutcome>(() => {});
    const before = setUp(definition, () => never, store);
    const id = before.start();
    while (store.step(id, "a").state !== "running") await new Promise((resolve) => setImmediate(resolve));
    const after = setUp(definition, () => ok(), store);
    expect(await after.engine.recover()).toEqual({ runs: 1, interrupted: 1 });
    return { ...(await after.ended(id)), calls: after.calls };
  }

  test("an interrupted idempotent step runs again, under the same key", async () => {
    const { run, steps, calls } = await crashed("idempotent");
    expect(run.state).toBe("succeeded");
    expect(steps[0]).toMatchObject({ attempts: 2, unknowns: 1, fence: 2 });
    expect(calls.map((call) => call.step)).toEqual(["a", "b"]);
  });

  test("an interrupted at-most-once step is uncertain and is not run again", async () => {
    const { run, steps, calls } = await crashed("at-most-once");
    expect(run.state).toBe("failed");
    expect(steps.map((row) => row.state)).toEqual(["uncertain", "skipped"]);
    expect(calls).toHaveLength(0);
  });

  test("a result that comes after the lease has passed on is refused", async () => {
    const store = new MemoryStore();
    let finish = (_outcome: AttemptOutcome) => {};
    const late = new Promise<AttemptOutcome>((resolve) => (finish = resolve));
    const definition = pipeline([step("a", { effect: "idempotent" })]);
    const before = setUp(definition, () => late, store);
    const id = before.start();
    while (store.step(id, "a").state !== "running") await new Promise((resolve) => setImmediate(resolve));
    const after = setUp(definition, () => ok("second"), store);
    await after.engine.recover();
    await after.ended(id);
    finish(ok("first"));
    while (before.engine.counters.stale === 0) await new Promise((resolve) => setImmediate(resolve));
    expect(store.step(id, "a").output).toBe("second");
  });
});
