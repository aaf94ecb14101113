import { describe, expect, test } from "bun:test";
import type { Json } from "../../model/json.ts";
import type { PipelineDefinition } from "../../model/pipeline.ts";
import { pipeline, step, undo } from "../../testing/definitions.ts";
import { bad, ids, lost, ok, retry, RunRig, told } from "../../testing/run-rig.ts";
import { planItems } from "./plan-lease.ts";
import { planOutcome, planSkip, planUnstarted } from "./plan-outcome.ts";
import { planOutput } from "./plan-stop.ts";
import { planTimeout } from "./plan-waits.ts";

const rig = (definition: PipelineDefinition) => new RunRig(definition);

describe("steps", () => {
  test("the lease begins the run, raises the fence and tells the hub; the result ends both", () => {
    const run = rig(pipeline([step("a")], { deadlineMs: 100 }));
    const lease = run.lease("a");
    expect(lease.change).toMatchObject({
      guards: [{ stepId: "a", fence: 0, state: "queued" }],
      steps: [{ stepId: "a", state: "running", fence: 1, attempts: 1, startedMs: 1000 }],
      run: { state: "running", startedMs: 1000, deadlineMs: 5100 },
      attempt: { number: 1, fence: 1, state: "running" },
    });
    expect(told(lease)).toEqual(["run running", "a running"]);
    const end = run.end("a", ok(7));
    expect(end.change.attempt).toMatchObject({ number: 1, state: "succeeded", startedMs: 1000 });
    expect(end.change.run).toEqual({ state: "succeeded", endedMs: 1000 });
    expect(told(end)).toEqual(["a succeeded", "run succeeded"]);
    expect(end.change.unlock).toBeUndefined();
    expect(end.change.dead).toBeUndefined();
  });

  test("a diamond: both branches, then what needs both", () => {
    const run = rig(
      pipeline([
        step("d", { needs: ["b", "c"] }),
        step("b", { needs: ["a"] }),
        step("c", { needs: ["a"] }),
        step("a"),
      ]),
    );
    expect(ids(run.go("a"))).toEqual(["b", "c"]);
    expect(ids(run.go("b"))).toEqual([]);
    expect(ids(run.go("c"))).toEqual(["d"]);
    expect(run.go("d").run.state).toBe("succeeded");
  });

  test("a step that failed skips what needs it and what needs that; one left out by its `when` does not", () => {
    const run = rig(
      pipeline([
        step("a"),
        step("b", { needs: ["a"] }),
        step("c", { needs: ["b"] }),
        step("w", { when: "false" }),
        step("x", { needs: ["w"] }),
      ]),
    );
    run.go("a", bad());
    expect(run.step("b")).toMatchObject({
      state: "skipped",
      reason: "step a is failed",
      extra: { skip: "need" },
    });
    expect(run.step("c").reason).toBe("step b is skipped");
    expect(ids(run.apply(planSkip(run.live, run.step("w"), run.now)))).toEqual(["x"]);
    expect(run.go("x").run).toMatchObject({ state: "failed", reason: "step a is failed: no" });
  });

  test("a run of skipped steps only succeeds without an attempt", () => {
    const run = rig(pipeline([step("a")]));
    expect(run.apply(planSkip(run.live, run.step("a"), run.now)).run).toMatchObject({
      state: "succeeded",
      startedMs: 1000,
      endedMs: 1000,
    });
  });

  test("retries wait, keep their errors, and end as dead with a letter that has all of them", () => {
    const run = rig(pipeline([step("a", { effect: "idempotent", retry: retry(3) })]));
    expect(ids(run.go("a", bad("one")))).toEqual(["a"]);
    expect(run.step("a")).toMatchObject({ state: "queued", notBeforeMs: 5100, attempts: 1 });
    run.go("a", lost);
    run.go("a", bad("two"));
    const end = run.go("a", bad("three"));
    expect(run.step("a")).toMatchObject({ state: "dead", attempts: 4, unknowns: 1 });
    expect(end.change.dead).toMatchObject({ runId: "r", state: "failed", reason: "step a is dead: three" });
    expect(end.change.dead!.errors.map(({ attempt, error }) => [attempt, error.message])).toEqual([
      [1, "one"],
      [2, "the worker died"],
      [3, "two"],
      [4, "three"],
    ]);
  });

  test("a refused call counts as an attempt; an input that cannot be made ends the step without one", () => {
    const run = rig(pipeline([step("a", { retry: retry(2) }), step("b")]));
    const open = { code: "circuit_open", message: "open", retryable: true, started: false };
    const refused = run.apply(planUnstarted(run.live, run.step("a"), open, run.now));
    expect(refused.change.attempt).toMatchObject({ number: 1, state: "failed", error: open });
    run.apply(planUnstarted(run.live, run.step("a"), open, run.now));
    expect(run.step("a")).toMatchObject({ state: "dead", attempts: 2, fence: 2 });
    const input = { code: "input", message: "no such key", retryable: false, started: false };
    const ended = run.apply(planUnstarted(run.live, run.step("b"), input, run.now));
    expect(ended.change.attempt).toBeUndefined();
    expect(run.step("b")).toMatchObject({ state: "failed", attempts: 0, error: input });
  });

  test("a deadline over attempts: no retry that would come too late", () => {
    const run = rig(pipeline([step("a", { effect: "idempotent", retry: retry(9), deadlineMs: 150 })]));
    run.go("a", bad());
    expect(run.step("a")).toMatchObject({ state: "queued", extra: { deadlineMs: 5150 } });
    run.now = { wallMs: 1100, trustedMs: 5100 };
    run.go("a", bad());
    expect(run.step("a")).toMatchObject({ state: "timed_out", error: { message: "no" } });
  });

  test("a deadline that passes while the attempt runs, and while it waits for the next", () => {
    const deadline = { effect: "idempotent", retry: retry(9), deadlineMs: 150 } as const;
    const run = rig(pipeline([step("a", deadline), step("b", deadline)]));
    run.lease("a");
    run.go("b", bad());
    run.now = { wallMs: 1200, trustedMs: 5200 };
    expect(run.cancelled("a").change.attempt).toMatchObject({ state: "unknown" });
    expect(run.step("a")).toMatchObject({ state: "timed_out", reason: "its deadline passed" });
    const end = run.apply(planTimeout(run.live, run.step("b"), run.now));
    expect(run.step("b")).toMatchObject({ state: "timed_out", error: { message: "no" } });
    expect(end.run.state).toBe("failed");
  });

  test("a result under an old lease is guarded by it, and asks for no more than the store refuses", () => {
    const run = rig(pipeline([step("a", { effect: "idempotent" })]));
    run.lease("a");
    const old = run.step("a");
    run.end("a", lost);
    run.lease("a");
    const late = planOutcome(run.live, old, ok(), run.now, Math.random);
    expect(late.change.guards).toEqual([{ stepId: "a", fence: 1, state: "running" }]);
    expect(late.run.state).toBe("running");
    expect(() => run.apply(late)).toThrow("guard");
  });
});

describe("undo, finally, on_failure", () => {
  const definition = pipeline(
    [
      step("a", { undo: undo("unmake") }),
      step("b", { needs: ["a"], undo: undo("unmake") }),
      step("c", { needs: ["b"] }),
    ],
    { finally: [step("f1"), step("f2")], onFailure: [step("e1"), step("e2")] },
  );

  test("success: only finally, the last one first", () => {
    const run = rig(definition);
    for (const id of ["a", "b"]) run.go(id);
    expect(ids(run.go("c"))).toEqual(["f2"]);
    expect(ids(run.go("f2"))).toEqual(["f1"]);
    expect(run.go("f1").run).toMatchObject({ state: "succeeded", reason: null });
    expect(run.live.steps.has("e1")).toBe(false);
  });

  test("failure: undo the last first, then finally, then on_failure; each part to its end, whatever fails in it", () => {
    const run = rig(definition);
    for (const id of ["a", "b"]) run.go(id);
    const order = ["c", "b~undo", "a~undo", "f2", "f1", "e1", "e2"];
    for (const [index, id] of order.entries()) {
      const planned = run.go(id, bad(`${id} broke`));
      expect(ids(planned)).toEqual(order.slice(index + 1, index + 2));
    }
    expect(run.live.run).toMatchObject({ state: "failed", reason: "step c is failed: c broke" });
    expect(run.step("b~undo").extra).toEqual({ undoes: "b" });
  });

  test("undo goes by the order of the ends, also when the wall clock goes back", () => {
    const parallel = ["a", "b", "c"].map((id) => step(id, { undo: undo("unmake") }));
    const run = rig(pipeline([...parallel, step("z")]));
    for (const id of ["b", "c", "a"]) {
      run.go(id);
      run.now = { wallMs: run.now.wallMs - 500, trustedMs: run.now.trustedMs };
    }
    expect(ids(run.go("z", bad()))).toEqual(["a~undo"]);
    expect(ids(run.go("a~undo"))).toEqual(["c~undo"]);
    expect(ids(run.go("c~undo"))).toEqual(["b~undo"]);
    expect(run.go("b~undo").run.state).toBe("failed");
  });

  test("only a finally step failed: the run is failed and says so, without undo and on_failure", () => {
    const run = rig(definition);
    for (const id of ["a", "b", "c"]) run.go(id);
    run.go("f2", bad("no space"));
    expect(run.go("f1").run).toMatchObject({
      state: "failed",
      reason: "in finally: step f2 is failed: no space",
    });
  });

  test("uncertain ends a step, on_failure runs, the run is failed", () => {
    const run = rig(pipeline([step("a")], { onFailure: [step("e")] }));
    expect(ids(run.go("a", lost))).toEqual(["e"]);
    expect(run.go("e").run).toMatchObject({
      state: "failed",
      reason: "step a is uncertain: the worker died",
    });
  });

  test("the output of a run; one that cannot be made fails it", () => {
    const definitionOf = pipeline([step("a")], { output: { x: "${{ steps.a.output }}" } });
    const [good, broken] = [rig(definitionOf), rig(definitionOf)];
    for (const run of [good, broken]) run.lease("a");
    const plan = (run: RunRig) => planOutcome(run.live, run.step("a"), ok(1), run.now, Math.random);
    const done = good.apply(planOutput(plan(good), good.live, { value: { x: 1 } }, good.now));
    expect(done.change.run).toMatchObject({ state: "succeeded", output: { x: 1 } });
    const failed = broken.apply(planOutput(plan(broken), broken.live, { problem: "no x" }, broken.now));
    expect(failed.run).toMatchObject({ state: "failed", reason: "the output cannot be made: no x" });
    expect(failed.change.dead?.reason).toBe("the output cannot be made: no x");
    expect(told(failed)).toEqual(["a succeeded", "run failed"]);
  });
});

describe("foreach", () => {
  const each = (concurrency: number, options = {}) =>
    pipeline([
      step("a", { foreach: { in: "params.list", concurrency }, ...options }),
      step("b", { needs: ["a"] }),
    ]);
  const begin = (run: RunRig, items: Json[]) => run.apply(planItems(run.live, run.step("a"), items, run.now));

  test("items under the cap, their outputs in order", () => {
    const run = rig(each(2));
    const begun = begin(run, ["x", "y", "z"]);
    expect(ids(begun)).toEqual(["a[0]", "a[1]"]);
    expect(begun.change.attempt).toBeUndefined();
    expect(ids(run.go("a[1]", ok(1)))).toEqual(["a[2]"]);
    expect(ids(run.go("a[0]", ok(0)))).toEqual([]);
    expect(ids(run.go("a[2]", ok(2)))).toEqual(["b"]);
    expect(run.step("a")).toMatchObject({ state: "succeeded", output: [0, 1, 2], attempts: 0 });
    expect(run.step("a[2]").extra).toEqual({ foreach: { step: "a", index: 2, value: "z" } });
  });

  test("nothing to do succeeds; too much fails", () => {
    const [none, many] = [rig(each(2)), rig(each(2))];
    expect(ids(begin(none, []))).toEqual(["b"]);
    expect(none.step("a")).toMatchObject({ state: "succeeded", output: [] });
    begin(many, Array(1001).fill(0));
    expect(many.step("a").error?.message).toBe("foreach has 1001 items, at most 1000 are allowed");
  });

  test("an item that ends badly: those not begun are skipped, those running end, the step takes its state", () => {
    const run = rig(each(2));
    begin(run, [0, 1, 2]);
    run.lease("a[0]");
    run.lease("a[1]");
    expect(ids(run.end("a[1]", bad()))).toEqual([]);
    expect(run.states()).toMatchObject({ a: "running", "a[0]": "running", "a[2]": "skipped" });
    expect(run.end("a[0]").run.state).toBe("failed");
    expect(run.step("a")).toMatchObject({ state: "failed", error: { message: "item 1: no" } });
    expect(run.step("b").state).toBe("skipped");
  });

  test("undo takes back item by item", () => {
    const run = rig(each(9, { undo: undo("unmake") }));
    begin(run, ["x", "y"]);
    run.go("a[1]");
    run.go("a[0]");
    expect(ids(run.go("b", bad()))).toEqual(["a[0]~undo"]);
    expect(run.step("a[0]~undo").extra).toMatchObject({ undoes: "a[0]", foreach: { value: "x" } });
    expect(ids(run.go("a[0]~undo"))).toEqual(["a[1]~undo"]);
    expect(run.go("a[1]~undo").run.state).toBe("failed");
  });

  test("its deadline: what has not begun is skipped, what runs is to be aborted", () => {
    const run = rig(each(1, { deadlineMs: 50 }));
    begin(run, [0, 1]);
    run.lease("a[0]");
    run.now = { wallMs: 1060, trustedMs: 5060 };
    const late = run.apply(planTimeout(run.live, run.step("a"), run.now));
    expect(late.abort.map((row) => row.stepId)).toEqual(["a[0]"]);
    expect(run.step("a[1]").state).toBe("skipped");
    run.cancelled("a[0]");
    expect(run.states()).toMatchObject({ "a[0]": "timed_out", a: "timed_out", b: "skipped" });
  });
});
