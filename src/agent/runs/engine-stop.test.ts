/** Runs that are ended early, and people who are asked. */
import { describe, expect, test } from "bun:test";
import type { ApprovalDefinition } from "../../model/pipeline.ts";
import type { AttemptOutcome } from "../../model/run-transitions.ts";
import { MemoryRunStore } from "../../testing/memory-run-store.ts";
import { pipeline as aPipeline, step as aStep } from "../../testing/definitions.ts";
import { type Act, failed, ok, runRig, unknown } from "../../testing/engine-rig.ts";
import { settled, VirtualClock } from "../../testing/virtual-clock.ts";

/** Works until it is aborted, then takes 5 ms to end. */
const untilAborted =
  (clock: () => VirtualClock, told: string[] = []): Act =>
  ({ step }, signal) =>
    new Promise<AttemptOutcome>((resolve) => {
      signal.addEventListener("abort", () => {
        told.push(`${step} aborted`);
        clock().after(5, () => {
          told.push(`${step} ended`);
          resolve(unknown("cancelled"));
        });
      });
    });

const parts = {
  finally: [aStep("f")],
  onFailure: [aStep("e", { with: { code: "${{ failure.code }}", step: "${{ failure.step }}" } })],
};

describe("cancel", () => {
  test("stops what runs for real, leaves out what has not begun, and runs finally only", async () => {
    const told: string[] = [];
    const definition = aPipeline([aStep("a"), aStep("b"), aStep("c", { needs: ["a"] })], parts);
    const rig = runRig(definition, (call, signal) => {
      if (call.step === "f") return ok();
      return untilAborted(() => rig.clock, told)(call, signal);
    });
    const id = rig.start();
    await settled();
    await rig.engine.cancel(id, "local:7", "not needed");
    expect(told).toEqual(["a aborted", "b aborted"]);
    expect(rig.store.runs.get(id)!.run).toMatchObject({ state: "running", stop: { by: "local:7" } });
    const { run } = await rig.ended(id);
    expect(run).toMatchObject({ state: "cancelled", reason: "not needed" });
    expect(rig.states(id)).toEqual(["a cancelled", "b cancelled", "c skipped", "f succeeded"]);
    expect(rig.store.letters.size).toBe(0);
    await expect(rig.engine.cancel(id, "local:7", "")).rejects.toThrow("no open run");
  });

  test("comes too late for a result that is there; a step that waits for its retry ends", async () => {
    const retry = { attempts: 3, kind: "fixed" as const, initialMs: 60_000, maxMs: 60_000 };
    const rig = runRig(aPipeline([aStep("a"), aStep("b", { retry })]), ({ step }, signal) => {
      if (step === "b") return failed(false);
      return new Promise((resolve) => signal.addEventListener("abort", () => resolve(ok("there"))));
    });
    const id = rig.start();
    await settled();
    await rig.engine.cancel(id, "local:7", "why");
    const { run } = await rig.ended(id);
    expect(run.state).toBe("cancelled");
    expect(rig.states(id)).toEqual(["a succeeded", "b cancelled"]);
  });

  test("of a run that has not begun runs nothing", async () => {
    const rig = runRig(aPipeline([aStep("a")], { concurrency: 1, ...parts }), async () => {
      await rig.clock.sleep(10);
      return ok();
    });
    const [first, second] = [rig.start(), rig.start()];
    await rig.engine.cancel(second, "local:7", "why");
    expect(rig.states(second)).toEqual(["a skipped"]);
    expect((await rig.ended(first)).run.state).toBe("succeeded");
    expect(rig.calls.every(({ run }) => run === first)).toBe(true);
  });

  test("ends the child run first, also when the agent was restarted in between", async () => {
    const pipelines = [
      aPipeline([aStep("sub", { work: "pipeline", action: "child" })], parts),
      aPipeline([aStep("a", { effect: "idempotent" })], { name: "child", finally: [aStep("g")] }),
    ];
    for (const restart of [false, true]) {
      const store = new MemoryRunStore();
      const clock = new VirtualClock();
      const act: Act = (call, signal) => (call.step === "a" ? untilAborted(() => clock)(call, signal) : ok());
      let rig = runRig(pipelines, act, { store, clock });
      const id = rig.start();
      await rig.until("the child's step", () => rig.calls.length === 1);
      const child = store.step(id, "sub").extra!.child!;
      if (restart) {
        // The stop of the parent is durable, that of the child is not.
        const made = store.runs.get(id)!.run;
        made.stop = { state: "cancelled", by: "local:7", reason: "why" };
        rig = runRig(pipelines, act, { store, clock });
        await rig.engine.recover();
      } else await rig.engine.cancel(id, "local:7", "why");
      const { run } = await rig.ended(id);
      expect(run.state).toBe("cancelled");
      expect(store.runs.get(child)!.run).toMatchObject({ state: "cancelled", stop: { by: id } });
      expect(rig.states(id)).toEqual(["sub cancelled", "f succeeded"]);
      expect(rig.called().slice(-2)).toEqual(["g", "f"]);
      const ends = store.changes
        .filter((change) => change.run?.state === "cancelled")
        .map(({ runId }) => runId);
      expect(ends).toEqual([child, id]);
    }
  });
});

describe("deadlines", () => {
  test("of a run: what runs is stopped and timed out, then undo, finally and on_failure", async () => {
    const undo = {
      action: "back",
      with: {},
      timeoutMs: 1000,
      retry: aStep("x").retry,
      effect: "idempotent" as const,
    };
    const definition = aPipeline(
      [aStep("z", { undo }), aStep("a", { needs: ["z"] }), aStep("b", { needs: ["a"] })],
      {
        deadlineMs: 1000,
        ...parts,
      },
    );
    const rig = runRig(definition, (call, signal) =>
      call.step === "a" ? untilAborted(() => rig.clock)(call, signal) : ok(),
    );
    const id = rig.start();
    const { run } = await rig.ended(id);
    expect(run.state).toBe("timed_out");
    expect(run.reason).toContain("deadline");
    expect(rig.states(id)).toEqual([
      "z succeeded",
      "a timed_out",
      "b skipped",
      "z~undo succeeded",
      "f succeeded",
      "e succeeded",
    ]);
    expect(rig.calls.at(-1)!.input).toMatchObject({ code: "timed_out" });
    expect(rig.store.letters.get(id)).toMatchObject({ state: "timed_out" });
  });

  test("of a step bind all attempts and the waits between them", async () => {
    const retry = { attempts: 100, kind: "fixed" as const, initialMs: 300, maxMs: 60_000 };
    const rig = runRig(aPipeline([aStep("a", { deadlineMs: 1000, retry })]), () => failed(false));
    const { run, steps } = await rig.ended(rig.start());
    expect(run.state).toBe("failed");
    expect(steps[0]).toMatchObject({ state: "timed_out", attempts: 4 });
    const hanging = runRig(aPipeline([aStep("a", { deadlineMs: 1000 })]), (call, signal) =>
      untilAborted(() => hanging.clock)(call, signal),
    );
    expect((await hanging.ended(hanging.start())).steps[0]).toMatchObject({
      state: "timed_out",
      attempts: 1,
    });
  });

  test("of a foreach stop its items; of a step with a child run they stop the child", async () => {
    const list = aPipeline([aStep("a", { deadlineMs: 50, foreach: { in: "[1, 2, 3]", concurrency: 2 } })]);
    const rig = runRig(list, (call, signal) => untilAborted(() => rig.clock)(call, signal));
    const id = rig.start();
    expect((await rig.ended(id)).run.state).toBe("failed");
    expect(rig.states(id)).toEqual(["a timed_out", "a[0] timed_out", "a[1] timed_out", "a[2] skipped"]);
    const pipelines = [
      aPipeline([aStep("sub", { work: "pipeline", action: "child", deadlineMs: 50 })]),
      aPipeline([aStep("a")], { name: "child" }),
    ];
    const above = runRig(pipelines, (call, signal) => untilAborted(() => above.clock)(call, signal));
    const parent = above.start();
    expect((await above.ended(parent)).run.state).toBe("failed");
    expect(above.states(parent)).toEqual(["sub timed_out"]);
    const child = above.store.step(parent, "sub").extra!.child!;
    expect(above.store.runs.get(child)!.run.state).toBe("timed_out");
  });

  test("are kept over a restart, and wall jumps do not move them", async () => {
    const store = new MemoryRunStore();
    const clock = new VirtualClock();
    const definition = aPipeline([aStep("a", { effect: "idempotent" })], { deadlineMs: 10_000 });
    const act: Act = (call, signal) => untilAborted(() => clock)(call, signal);
    const before = runRig(definition, act, { store, clock });
    const id = before.start();
    await settled();
    await clock.advance(6_000);
    clock.jumpWall(-86_400_000);
    const after = runRig(definition, act, { store, clock });
    await after.engine.recover();
    await clock.advance(3_900);
    expect(store.runs.get(id)!.run.stop).toBeNull();
    await clock.advance(200);
    expect(store.runs.get(id)!.run.state).toBe("timed_out");
  });

  test("a run that takes longer than warn_after is told, and goes on", async () => {
    const rig = runRig(aPipeline([aStep("a")], { warnAfterMs: 1000 }), async () => {
      await rig.clock.sleep(3000);
      return ok();
    });
    const id = rig.start();
    await rig.clock.advance(500);
    expect(rig.engine.live()).toMatchObject([
      { id, overdue: false, steps: ["a"], state: "running", ageMs: 500 },
    ]);
    await rig.clock.advance(1000);
    expect(rig.engine.live()).toMatchObject([{ id, overdue: true }]);
    expect(rig.engine.counters.overdue).toBe(1);
    expect((await rig.ended(id)).run.state).toBe("succeeded");
  });
});

describe("approvals", () => {
  const asks = (approval: Partial<ApprovalDefinition> = {}) =>
    aPipeline([
      aStep("ask", {
        work: "approval",
        action: "approval",
        approval: {
          text: "go on with ${{ params.x }}?",
          timeoutMs: 60_000,
          approvers: ["*"],
          strict: true,
          ...approval,
        },
      }),
      aStep("go", { needs: ["ask"], with: { by: "${{ steps.ask.output.by }}" } }),
    ]);
  const answer = (uid: number, approve = true, note = "") => ({ approve, by: `local:${uid}`, uid, note });

  async function asked(approval: Partial<ApprovalDefinition> = {}, by = "local:1000") {
    const rig = runRig(asks(approval), () => ok());
    const id = await rig.engine.start({ pipeline: "p", params: { x: 5 }, by });
    await rig.until("the question", () => rig.engine.asking().length === 1);
    return { rig, id };
  }

  test("wait without a place, and go on when somebody agrees", async () => {
    const { rig, id } = await asked();
    expect(rig.engine.asking()).toEqual([{ run: id, step: "ask", reason: "go on with 5?" }]);
    expect(rig.engine.stepsInFlight).toBe(0);
    await rig.engine.decide(id, "ask", answer(0, true, "fine"));
    expect((await rig.ended(id)).run.state).toBe("succeeded");
    expect(rig.store.step(id, "ask").output).toEqual({ by: "local:0", note: "fine" });
    expect(rig.calls[0]!.input).toEqual({ by: "local:0" });
    await expect(rig.engine.decide(id, "ask", answer(0))).rejects.toThrow("no open run");
  });

  test("denied, the step is failed and nothing after it runs", async () => {
    const { rig, id } = await asked();
    await rig.engine.decide(id, "ask", answer(0, false, "no"));
    expect((await rig.ended(id)).run.state).toBe("failed");
    expect(rig.states(id)).toEqual(["ask failed", "go skipped"]);
    expect(rig.store.step(id, "ask").error).toMatchObject({ code: "denied" });
  });

  test("unanswered they time out, over a restart as well", async () => {
    const { rig, id } = await asked();
    await rig.clock.advance(30_000);
    const after = runRig(asks(), () => ok(), { store: rig.store, clock: rig.clock });
    await after.engine.recover();
    expect(after.engine.asking()).toHaveLength(1);
    await rig.clock.advance(29_000);
    expect(rig.store.step(id, "ask").state).toBe("waiting");
    await rig.clock.advance(2_000);
    expect(rig.states(id)).toEqual(["ask timed_out", "go skipped"]);
  });

  test("only those who may answer, and when strict not who started the run", async () => {
    const { rig, id } = await asked({ approvers: ["local:1000", "user:bob", "user:nobody"] });
    const refused = (uid: number, approve = true) =>
      expect(rig.engine.decide(id, "ask", answer(uid, approve))).rejects;
    await refused(7).toThrow("local:7 may not answer; approvers are local:1000, user:bob, user:nobody");
    await refused(1000).toThrow("local:1000 started the run and may not approve it");
    expect(rig.store.step(id, "ask").state).toBe("waiting");
    await rig.engine.decide(id, "ask", answer(1001));
    expect((await rig.ended(id)).run.state).toBe("succeeded");
    const lax = await asked({ strict: false });
    await lax.rig.engine.decide(lax.id, "ask", answer(1000));
    expect((await lax.rig.ended(lax.id)).run.state).toBe("succeeded");
    const own = await asked();
    await own.rig.engine.decide(own.id, "ask", answer(1000, false));
    expect((await own.rig.ended(own.id)).run.state).toBe("failed");
  });

  test("in a run that is part of another, who started that one may not approve either", async () => {
    const child = { ...asks(), name: "child" };
    const rig = runRig(
      [aPipeline([aStep("sub", { work: "pipeline", action: "child", with: { x: 1 } })]), child],
      () => ok(),
    );
    await rig.engine.start({ pipeline: "p", params: {}, by: "local:1000" });
    await rig.until("the question", () => rig.engine.asking().length === 1);
    const { run, step } = rig.engine.asking()[0]!;
    await expect(rig.engine.decide(run, step, answer(1000))).rejects.toThrow("may not approve");
    await rig.engine.decide(run, step, answer(0));
    await rig.until("the end", () => rig.engine.openRuns === 0);
    expect(rig.engine.counters.ended).toEqual({ succeeded: 2 });
  });

  test("one for each item; when one is denied the others are still asked, until the deadline of the step", async () => {
    const approval = { text: "${{ item.value }}?", timeoutMs: 60_000, approvers: ["*"], strict: true };
    const each = aStep("ask", {
      work: "approval",
      approval,
      foreach: { in: "['a', 'b', 'c']", concurrency: 2 },
      deadlineMs: 10_000,
    });
    const rig = runRig(aPipeline([each]), () => ok());
    const id = rig.start();
    await rig.until("two questions", () => rig.engine.asking().length === 2);
    expect(rig.engine.asking().map(({ reason }) => reason)).toEqual(["a?", "b?"]);
    await rig.engine.decide(id, "ask[0]", answer(0, false));
    expect(rig.engine.asking().map(({ step }) => step)).toEqual(["ask[1]"]);
    await rig.clock.advance(11_000);
    expect(rig.states(id)).toEqual(["ask failed", "ask[0] failed", "ask[1] timed_out", "ask[2] skipped"]);
  });

  test("a cancel ends them", async () => {
    const { rig, id } = await asked();
    await rig.engine.cancel(id, "local:0", "why");
    expect((await rig.ended(id)).run.state).toBe("cancelled");
    expect(rig.states(id)).toEqual(["ask cancelled", "go skipped"]);
  });
});
