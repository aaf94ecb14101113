import { describe, expect, test } from "bun:test";
import type { HoldfastError } from "../../core/errors.ts";
import type { PipelineDefinition } from "../../model/pipeline.ts";
import { pipeline, step } from "../../testing/definitions.ts";
import { added, bad, ids, ok, retry, RunRig, MADE, spawn } from "../../testing/run-rig.ts";
import { planAdditions } from "./plan-additions.ts";
import { planLease } from "./plan-lease.ts";

const rig = (definition: PipelineDefinition) => new RunRig(definition);

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

  test("runs that are put off go into the same change, also from a part at the end, and keep their key", () => {
    const run = rig(
      pipeline([step("a", { effect: "idempotent", retry: retry(2) })], { finally: [step("f")] }),
    );
    const keys = (planned: ReturnType<typeof run.add>) => planned.change.newLaters?.map(({ key }) => key);
    run.lease("a");
    const first = run.add("a", added("later", "other"), added("spawn", "other"), added("later", "other"));
    expect(keys(first)).toEqual(["r/a+1", "r/a+3"]);
    expect(first.change.guards).toHaveLength(1);
    expect(first.steps.map((row) => row.stepId)).toEqual(["a"]);
    run.end("a", bad());
    run.lease("a");
    expect(keys(run.add("a", added("later", "other")))).toEqual(["r/a+1"]);
    run.end("a");
    run.lease("f");
    expect(keys(run.add("f", added("later", "other")))).toEqual(["r/f+1"]);
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
    const late = () => planAdditions(run.live, old, [added("add", "B")], MADE, run.now);
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
