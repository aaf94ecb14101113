import { describe, expect, test } from "bun:test";
import { HoldfastError } from "../../core/errors.ts";
import type { Json } from "../../model/json.ts";
import type { Addition, PipelineDefinition } from "../../model/pipeline.ts";
import { newRun } from "../../model/run-build.ts";
import type { AttemptOutcome } from "../../model/run-transitions.ts";
import { pipeline, step, undo } from "../../testing/definitions.ts";
import { PlannedRun } from "../../testing/planned-run.ts";
import { planAdditions } from "./plan-additions.ts";
import { planItems, planLease } from "./plan-lease.ts";
import { planCancelled, planOutcome, planSkip, planUnstarted } from "./plan-outcome.ts";
import { planOutput, planStop } from "./plan-stop.ts";
import { planAsk, planDecision, planLock, planTimeout, planUnlocked } from "./plan-waits.ts";
import type { PlannedChange } from "./plan.ts";

const retry = (attempts: number) => ({ attempts, kind: "fixed" as const, initialMs: 100, maxMs: 1000 });
const bad = (message = "no"): AttemptOutcome => ({
  kind: "error",
  error: { code: "failed", message, retryable: true, started: true },
});
const lost: AttemptOutcome = {
  kind: "unknown",
  error: { code: "crashed", message: "the worker died", retryable: true, started: true },
};
const ok = (output: Json = null): AttemptOutcome => ({ kind: "ok", output });

/** A run with the verbs of the engine. */
class Rig extends PlannedRun {
  lease = (id: string) => this.apply(planLease(this.live, this.step(id), this.now));
  end = (id: string, outcome = ok()) =>
    this.apply(planOutcome(this.live, this.step(id), outcome, this.now, () => 0.5));
  go = (id: string, outcome = ok()) => (this.lease(id), this.end(id, outcome));
  stop = (state: "cancelled" | "timed_out" | "failed" | "skipped") =>
    this.apply(planStop(this.live, { state, by: "local:0", reason: "that is enough" }, this.now));
  cancelled = (id: string) => this.apply(planCancelled(this.live, this.step(id), this.now));
  add = (id: string, ...additions: Addition[]) =>
    this.apply(planAdditions(this.live, this.step(id), additions, spawn, this.now));
}

function spawn(addition: Addition, key: string) {
  return newRun({
    id: `spawned by ${key}`,
    definition: pipeline([step("x")], { name: addition.action }),
    definitionHash: "h",
    rule: null,
    starter: { kind: "spawn", by: "r" },
    event: null,
    params: addition.with,
    parent: { run: "r", step: "a", key },
    createdMs: 0,
  });
}

const added = (kind: Addition["kind"], action: string): Addition => ({
  kind,
  action,
  pipeline: kind === "spawn",
  with: {},
});
const rig = (definition: PipelineDefinition) => new Rig(definition);
const ids = (planned: PlannedChange) => planned.queued.map((row) => row.stepId);
const told = (planned: PlannedChange) =>
  planned.change.records.map(({ body }) => {
    const { step: stepId, state } = JSON.parse(body);
    return `${stepId ?? "run"} ${state}`;
  });

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
    const plan = (run: Rig) => planOutcome(run.live, run.step("a"), ok(1), run.now, Math.random);
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
  const begin = (run: Rig, items: Json[]) => run.apply(planItems(run.live, run.step("a"), items, run.now));

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

describe("stops", () => {
  test("a cancel: what has not begun is skipped, what runs is aborted, finally runs, on_failure and undo do not", () => {
    const run = rig(
      pipeline([step("a", { undo: undo("unmake") }), step("b"), step("c", { needs: ["b"] })], {
        finally: [step("f")],
        onFailure: [step("e")],
      }),
    );
    run.go("a");
    run.lease("b");
    const stopped = run.stop("cancelled");
    expect(stopped.abort.map((row) => row.stepId)).toEqual(["b"]);
    expect(run.step("c")).toMatchObject({ state: "skipped", extra: { skip: "stop" } });
    expect(ids(run.cancelled("b"))).toEqual(["f"]);
    expect(run.step("b").state).toBe("cancelled");
    const end = run.go("f");
    expect(end.run).toMatchObject({ state: "cancelled", reason: "that is enough" });
    expect(end.change.dead).toBeUndefined();
  });

  test("a deadline: aborted steps are timed_out, undo and on_failure run, the run is set aside", () => {
    const run = rig(pipeline([step("a", { undo: undo("unmake") }), step("b")], { onFailure: [step("e")] }));
    run.go("a");
    run.lease("b");
    run.stop("timed_out");
    expect(ids(run.end("b", lost))).toEqual(["a~undo"]);
    expect(run.step("b").state).toBe("timed_out");
    expect(ids(run.go("a~undo"))).toEqual(["e"]);
    run.apply(planStop(run.live, { state: "timed_out", by: "x", reason: "again" }, run.now));
    const end = run.go("e");
    expect(end.run).toMatchObject({ state: "timed_out", reason: "that is enough" });
    expect(end.change.dead).toMatchObject({ state: "timed_out" });
  });

  test("a success that came before the abort took effect counts; a retry does not begin any more", () => {
    const run = rig(pipeline([step("a"), step("b", { effect: "idempotent", retry: retry(3) })]));
    run.lease("a");
    run.lease("b");
    run.stop("cancelled");
    run.end("a", ok(1));
    run.end("b", bad());
    expect(run.states()).toEqual({ a: "succeeded", b: "cancelled" });
    expect(run.live.run.state).toBe("cancelled");
  });

  test("a run that has not begun ends at once and nothing of it runs", () => {
    for (const state of ["cancelled", "skipped", "failed"] as const) {
      const run = rig(pipeline([step("a")], { finally: [step("f")], onFailure: [step("e")] }));
      expect(run.stop(state).run).toMatchObject({ state, startedMs: null, reason: "that is enough" });
      expect(run.states()).toEqual({ a: "skipped" });
      expect(run.changes[0]!.dead?.state).toBe(state === "failed" ? "failed" : undefined);
    }
  });

  test("a cancel while finally runs stops that step, and the next one still runs; of on_failure none does", () => {
    const run = rig(pipeline([step("a")], { finally: [step("f1"), step("f2")], onFailure: [step("e")] }));
    run.go("a", bad());
    run.lease("f2");
    expect(run.stop("timed_out").change.run).toBeUndefined();
    expect(run.stop("cancelled").abort.map((row) => row.stepId)).toEqual(["f2"]);
    expect(ids(run.cancelled("f2"))).toEqual(["f1"]);
    expect(run.go("f1").run).toMatchObject({
      state: "cancelled",
      reason: "that is enough; before that: step a is failed: no",
    });
  });

  test("a stop says of a step that asks that nobody knows, and of an approval that it is cancelled", () => {
    const run = rig(pipeline([step("a", { effect: "ask" }), step("b", { work: "approval" })]));
    run.go("a", lost);
    run.apply(
      planAsk(run.live, run.step("b"), { text: "?", approvers: ["*"], strict: true, deadlineMs: 9 }, run.now),
    );
    expect(run.stop("cancelled").run.state).toBe("cancelled");
    expect(run.states()).toEqual({ a: "uncertain", b: "cancelled" });
  });
});

describe("waits", () => {
  const ask = (run: Rig) =>
    run.apply(
      planAsk(
        run.live,
        run.step("a"),
        { text: "restart?", approvers: ["*"], strict: true, deadlineMs: 6000 },
        run.now,
      ),
    );
  const answer = (run: Rig, approve: boolean) =>
    run.apply(planDecision(run.live, run.step("a"), { approve, by: "local:7", note: "why not" }, run.now));

  test("an approval: yes, no, nobody", () => {
    const definition = pipeline([step("a", { work: "approval", action: "approval" })]);
    const [yes, no, nobody] = [rig(definition), rig(definition), rig(definition)];
    expect(told(ask(yes))).toEqual(["run running", "a waiting"]);
    expect(yes.step("a")).toMatchObject({
      waits: "approval",
      reason: "restart?",
      extra: { deadlineMs: 6000 },
    });
    answer(yes, true);
    expect(yes.step("a")).toMatchObject({ state: "succeeded", output: { by: "local:7", note: "why not" } });
    ask(no);
    answer(no, false);
    expect(no.step("a")).toMatchObject({ state: "failed", error: { code: "denied" } });
    expect(no.live.run.reason).toBe("step a is failed: denied by local:7: why not");
    ask(nobody);
    nobody.apply(planTimeout(nobody.live, nobody.step("a"), nobody.now));
    expect(nobody.step("a").state).toBe("timed_out");
    expect(nobody.live.run).toMatchObject({ state: "failed" });
  });

  test("an unknown outcome of an `ask` step: again, or left uncertain", () => {
    const definition = pipeline([step("a", { effect: "ask" })]);
    const [again, never] = [rig(definition), rig(definition)];
    for (const run of [again, never]) {
      expect(told(run.go("a", lost))).toEqual(["a waiting"]);
      expect(run.step("a").waits).toBe("decision");
    }
    expect(ids(answer(again, true))).toEqual(["a"]);
    expect(again.go("a").run.state).toBe("succeeded");
    expect(answer(never, false).run.state).toBe("failed");
    expect(never.step("a").state).toBe("uncertain");
    expect(() => answer(never, true)).toThrow("it does not ask for a decision");
  });

  test("locks: the pipeline's before the run begins, a step's before its lease; both go with the run", () => {
    const exclusive = { lock: "x", busy: "queue" as const };
    const run = rig(pipeline([step("a", { exclusive })], { exclusive }));
    const first = run.apply(planLock(run.live, null, "x", run.now));
    expect(first.change).toMatchObject({
      lock: { namespace: "default", lock: "x" },
      run: { state: "waiting" },
    });
    expect(ids(run.apply(planUnlocked(run.live, null, run.now)))).toEqual(["a"]);
    expect(ids(run.apply(planLock(run.live, run.step("a"), "y", run.now)))).toEqual([]);
    expect(run.step("a")).toMatchObject({ waits: "lock", reason: "waits for lock y", attempts: 0 });
    expect(ids(run.apply(planUnlocked(run.live, run.step("a"), run.now)))).toEqual(["a"]);
    expect(ids(run.apply(planLock(run.live, run.step("a"), "z", run.now, true)))).toEqual(["a"]);
    expect(run.go("a").change.unlock).toBe(true);
  });
});

describe("additions", () => {
  test("A adds B and C, B adds B1: A, B, B1, C, then what needed A", () => {
    const run = rig(pipeline([step("a"), step("z", { needs: ["a"] })]));
    run.lease("a");
    run.add("a", added("add", "B"));
    run.add("a", added("add", "C"));
    expect(ids(run.end("a"))).toEqual(["a+1"]);
    run.lease("a+1");
    run.add("a+1", added("add", "B1"));
    expect(ids(run.end("a+1"))).toEqual(["a+1+1"]);
    expect(ids(run.go("a+1+1"))).toEqual(["a+2"]);
    expect(ids(run.go("a+2"))).toEqual(["z"]);
    expect(run.go("z").run.state).toBe("succeeded");
  });

  test("B fails: C never runs, nor what needed A, and the run is failed in B", () => {
    const run = rig(pipeline([step("a"), step("z", { needs: ["a"] })]));
    run.lease("a");
    run.add("a", added("add", "B"), added("add", "C"));
    run.end("a");
    const end = run.go("a+1", bad());
    expect(run.states()).toEqual({ a: "succeeded", "a+1": "failed", "a+2": "skipped", z: "skipped" });
    expect(end.run).toMatchObject({ state: "failed", reason: "step a+1 is failed: no" });
    expect(run.step("z").reason).toBe("step a+1 is failed");
  });

  test("finally f1, f2 and on failure e1, e2: on success f2, f1 only; on failure f2, f1, e1, e2", () => {
    for (const [outcome, order] of [
      [ok(), ["a+2", "a+1"]],
      [bad(), ["a+2", "a+1", "a+3", "a+4"]],
    ] as const) {
      const run = rig(pipeline([step("a")]));
      run.lease("a");
      run.add("a", added("finally", "f1"), added("finally", "f2"));
      run.add("a", added("onFailure", "e1"), added("onFailure", "e2"));
      let next = run.end("a", outcome);
      for (const id of order) {
        expect(ids(next)).toEqual([id]);
        next = run.go(id);
      }
      expect(next.run.state).toBe(outcome.kind === "ok" ? "succeeded" : "failed");
      expect(run.step("a+3").state).toBe(outcome.kind === "ok" ? "skipped" : "succeeded");
    }
  });

  test("added ones go before declared ones at the end", () => {
    const run = rig(pipeline([step("a")], { finally: [step("f")], onFailure: [step("e")] }));
    run.lease("a");
    run.add("a", added("finally", "x"), added("onFailure", "y"));
    expect(ids(run.end("a", bad()))).toEqual(["a+1"]);
    expect(ids(run.go("a+1"))).toEqual(["f"]);
    expect(ids(run.go("f"))).toEqual(["e"]);
    expect(ids(run.go("e"))).toEqual(["a+2"]);
  });

  test("a retry takes back what the attempt before had asked for; spawned runs keep their key", () => {
    const run = rig(pipeline([step("a", { effect: "idempotent", retry: retry(2) })]));
    run.lease("a");
    const first = run.add("a", added("spawn", "other"), added("add", "B"), added("finally", "f"));
    expect(first.started.map((made) => made.run.parent?.key)).toEqual(["r/a+1"]);
    run.end("a", bad());
    const again = run.lease("a");
    expect(again.removed).toEqual(["a+2", "a+3"]);
    expect(run.add("a", added("spawn", "other")).started[0]!.run.parent?.key).toBe("r/a+1");
    expect(run.end("a").run.state).toBe("succeeded");
  });

  test("what may not be added", () => {
    const run = rig(pipeline([step("a"), step("b")], { finally: [step("f")] }));
    const code = (work: () => unknown) => {
      try {
        work();
        return "none";
      } catch (error) {
        return (error as HoldfastError).code;
      }
    };
    run.lease("a");
    const old = run.step("a");
    const late = () => planAdditions(run.live, old, [added("add", "B")], spawn, run.now);
    expect(code(() => run.add("a", ...Array(101).fill(added("add", "B"))))).toBe("exhausted");
    run.end("a");
    expect(code(late)).toBe("conflict");
    run.go("b");
    run.lease("f");
    expect(code(() => run.add("f", added("add", "B")))).toBe("invalid");
    expect(run.add("f", added("spawn", "other")).started).toHaveLength(1);
  });
});

describe("a pipeline as a step", () => {
  const nested = pipeline([step("a", { work: "pipeline", action: "other" }), step("b", { needs: ["a"] })]);
  const child = () => spawn(added("spawn", "other"), "r/a");

  test("lease and child in one change, no attempt; its end is the step's", () => {
    const run = rig(nested);
    const made = child();
    const lease = run.apply(planLease(run.live, run.step("a"), run.now, { child: made }));
    expect(lease.change.newRuns).toEqual([made]);
    expect(lease.change.attempt).toBeUndefined();
    expect(run.step("a")).toMatchObject({ state: "running", attempts: 0, extra: { child: made.run.id } });
    const end = run.end("a", ok({ x: 1 }));
    expect(end.change.attempt).toBeUndefined();
    expect(ids(end)).toEqual(["b"]);
    expect(run.step("a").output).toEqual({ x: 1 });
  });
});
