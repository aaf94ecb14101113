import { describe, expect, test } from "bun:test";
import type { Effect } from "../../model/pipeline.ts";
import type { StepRow } from "../../model/run.ts";
import type { AttemptOutcome } from "../../model/run-transitions.ts";
import { MemoryRunStore } from "../../testing/memory-run-store.ts";
import { pipeline as aPipeline, step as aStep } from "../../testing/definitions.ts";
import { failed, ok, runRig, unknown } from "../../testing/engine-rig.ts";
import { settled } from "../../testing/virtual-clock.ts";

describe("a run", () => {
  test("goes through its steps in the order of their needs, outputs feeding inputs", async () => {
    const definition = aPipeline([
      aStep("c", {
        needs: ["a", "b"],
        with: { sum: "${{ steps.a.output + steps.b.output + event.data.n }}" },
      }),
      aStep("a"),
      aStep("b", { needs: ["a"], with: { p: "${{ params.x }}" } }),
    ]);
    const { start, ended, calls } = runRig(definition, (call) => ok(call.step === "a" ? 1 : 2));
    const { run } = await ended(start({ x: "y" }));
    expect(run.state).toBe("succeeded");
    expect(calls.map((call) => call.step)).toEqual(["a", "b", "c"]);
    expect(calls[1]!.input).toEqual({ p: "y" });
    expect(calls[2]!.input).toEqual({ sum: 10 });
    expect(calls[2]!.key).toBe(`${run.id}/c`);
  });

  test("a failed step skips what needs it, then on_failure gets the facts, then the run is failed", async () => {
    const definition = aPipeline([aStep("a"), aStep("b", { needs: ["a"] }), aStep("c", { needs: ["b"] })], {
      onFailure: [
        aStep("tell", { with: { why: "${{ failure.step }}: ${{ failure.message }}" } }),
        aStep("tell2"),
      ],
    });
    const { start, ended, calls } = runRig(definition, (call) => (call.step === "c" ? ok() : failed(true)));
    const { run, steps } = await ended(start());
    expect(run).toMatchObject({ state: "failed", reason: "step a is failed: no" });
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
    const { start, ended, calls } = runRig(
      aPipeline([aStep("a", { with: { x: "${{ event.data.nope }}" } })]),
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

  test("a full disk delays a result, it does not lose it", async () => {
    const { start, ended, store, calls } = runRig(aPipeline([aStep("a")]), () => {
      store.failNext = 2;
      return ok();
    });
    expect((await ended(start())).run.state).toBe("succeeded");
    expect(calls).toHaveLength(1);
  });

  test("a large output is cut and says so", async () => {
    const { start, ended } = runRig(aPipeline([aStep("a")]), () => ok("x".repeat(5000)));
    expect((await ended(start())).steps[0]!.output).toMatchObject({ truncated: true, bytes: 5002 });
  });
});

describe("effects", () => {
  const table: [Effect, AttemptOutcome[], string, string, number][] = [
    ["idempotent", [unknown(), ok()], "succeeded", "succeeded", 2],
    ["at-most-once", [unknown()], "uncertain", "failed", 1],
    ["at-most-once", [failed(true)], "failed", "failed", 1],
    ["at-most-once", [failed(false), failed(false), ok()], "succeeded", "succeeded", 3],
    ["at-most-once", [failed(false), failed(true)], "failed", "failed", 2],
    ["idempotent", [failed(true), failed(true), failed(true)], "dead", "failed", 3],
    ["idempotent", [failed(true, false)], "failed", "failed", 1],
    ["idempotent", Array.from({ length: 10 }, () => unknown()), "uncertain", "failed", 10],
  ];
  test.each(table)("%s, case %#", async (effect, outcomes, stepState, runState, attempts) => {
    const retry = { attempts: 3, kind: "fixed" as const, initialMs: 1, maxMs: 1 };
    const rest = [...outcomes];
    const { start, ended, calls } = runRig(aPipeline([aStep("a", { effect, retry })]), () => rest.shift()!);
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
    const outcomes = [unknown(), ok(), unknown()];
    const { engine, start, ended, until, store } = runRig(aPipeline([aStep("a", { effect: "ask" })]), () =>
      outcomes.shift()!,
    );
    const says = (approve: boolean) => ({ approve, by: "local:0", uid: 0, note: "" });
    const waits = (id: string) => until("a question", () => engine.asking()[0]?.run === id);
    const first = start();
    await waits(first);
    await expect(engine.decide(first, "nope", says(true))).rejects.toThrow("no open run");
    await engine.decide(first, "a", says(true));
    expect((await ended(first)).run.state).toBe("succeeded");
    const second = start();
    await waits(second);
    await engine.decide(second, "a", says(false));
    expect((await ended(second)).run.state).toBe("failed");
    expect(store.step(second, "a")).toMatchObject({ state: "uncertain", attempts: 1 });
    expect(store.step(second, "a").reason).toContain("denied by local:0");
  });
});

describe("recovery", () => {
  async function crashed(effect: Effect) {
    const store = new MemoryRunStore();
    const definition = aPipeline([aStep("a", { effect }), aStep("b", { needs: ["a"] })]);
    const before = runRig(definition, () => new Promise<AttemptOutcome>(() => {}), { store });
    const id = before.start();
    await before.until("the attempt", () => store.step(id, "a").state === "running");
    const after = runRig(definition, () => ok(), { store });
    expect(await after.engine.recover()).toEqual({ runs: 1, interrupted: 1 });
    return { ...(await after.ended(id)), called: after.called() };
  }

  test("an interrupted idempotent step runs again, under the same key", async () => {
    const { run, steps, called } = await crashed("idempotent");
    expect(run.state).toBe("succeeded");
    expect(steps[0]).toMatchObject({ attempts: 2, unknowns: 1, fence: 2 });
    expect(called).toEqual(["a", "b"]);
  });

  test("an interrupted at-most-once step is uncertain and is not run again", async () => {
    const { run, steps, called } = await crashed("at-most-once");
    expect(run.state).toBe("failed");
    expect(steps.map((row) => row.state)).toEqual(["uncertain", "skipped"]);
    expect(called).toEqual([]);
  });

  test("a result that comes after the lease has passed on is refused", async () => {
    const store = new MemoryRunStore();
    let finish = (_outcome: AttemptOutcome) => {};
    const late = new Promise<AttemptOutcome>((resolve) => (finish = resolve));
    const definition = aPipeline([aStep("a", { effect: "idempotent" })]);
    const before = runRig(definition, () => late, { store });
    const id = before.start();
    await before.until("the attempt", () => store.step(id, "a").state === "running");
    const after = runRig(definition, () => ok("second"), { store });
    await after.engine.recover();
    await after.ended(id);
    finish(ok("first"));
    await settled();
    expect(before.engine.counters.stale).toBe(1);
    expect(store.step(id, "a").output).toBe("second");
  });
});
