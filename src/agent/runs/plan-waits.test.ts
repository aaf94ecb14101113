import { describe, expect, test } from "bun:test";
import type { PipelineDefinition } from "../../model/pipeline.ts";
import { pipeline, step, undo } from "../../testing/definitions.ts";
import { bad, ids, lost, ok, retry, RunRig, told } from "../../testing/run-rig.ts";
import { planStop } from "./plan-stop.ts";
import { planAsk, planDecision, planLock, planTimeout, planUnlocked } from "./plan-waits.ts";

const rig = (definition: PipelineDefinition) => new RunRig(definition);

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
  const ask = (run: RunRig) =>
    run.apply(
      planAsk(
        run.live,
        run.step("a"),
        { text: "restart?", approvers: ["*"], strict: true, deadlineMs: 6000 },
        run.now,
      ),
    );
  const answer = (run: RunRig, approve: boolean) =>
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
