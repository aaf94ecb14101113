/** What the brake holds back: nothing begins that no person started, nothing is lost, and it goes on in order. */
import { describe, expect, test } from "bun:test";
import { hasEnded, type Starter } from "../../model/run.ts";
import { pipeline as aPipeline, step as aStep } from "../../testing/definitions.ts";
import { BY_RULE, failed, ok, runRig } from "../../testing/engine-rig.ts";
import type { ActionCall } from "./ports.ts";
import { MemoryRunStore } from "../../testing/memory-run-store.ts";
import { settled } from "../../testing/virtual-clock.ts";

const MANUAL: Starter = { kind: "manual", by: "local:0" };
const SCHEDULE: Starter = { kind: "schedule", by: "nightly" };
const WHY = "held back by the brake (local:7: disk swap)";

function aBrake(on = false) {
  const listeners: ((on: boolean) => void)[] = [];
  return {
    reason: () => (on ? WHY : null),
    onChange: (listener: (on: boolean) => void) => void listeners.push(listener),
    set(next: boolean) {
      on = next;
      for (const listener of listeners) listener(on);
    },
  };
}

const CHAIN = aPipeline([aStep("a"), aStep("b", { needs: ["a"] })], { concurrency: 1 });

describe("while the brake is on", () => {
  test("runs of rules and schedules wait with the reason, people's go on, and on release they go on in order", async () => {
    const brake = aBrake(true);
    const rig = runRig(CHAIN, () => ok(), { brake });
    const held = [rig.start(), rig.start({}, "p", SCHEDULE), rig.start()];
    const person = rig.start({}, "p", MANUAL);
    await rig.ended(person);
    expect(new Set(rig.calls.map((call) => call.run))).toEqual(new Set([person]));
    for (const id of held) {
      expect(rig.store.runs.get(id)!.run.state).toBe("queued");
      expect(rig.engine.heldBack(id)).toEqual({ reason: WHY, whole: true, steps: [] });
    }
    expect(rig.engine.gauges().heldBack).toEqual({ runs: 3, steps: 0 });
    expect(rig.engine.live().map((run) => run.heldBack)).toEqual([WHY, WHY, WHY]);
    brake.set(false);
    for (const id of held) expect((await rig.ended(id)).run.state).toBe("succeeded");
    expect(rig.calls.slice(2).map((call) => call.run)).toEqual(held.flatMap((id) => [id, id]));
    expect(rig.engine.gauges().heldBack).toEqual({ runs: 0, steps: 0 });
  });

  test("what runs ends, the next step waits, and those in the queue for a place leave it to people", async () => {
    const brake = aBrake();
    const rig = runRig(
      aPipeline([aStep("a"), aStep("b", { needs: ["a"] })], { concurrency: 2 }),
      async () => (await rig.clock.sleep(10), ok()),
      { brake },
    );
    const [first, second, third] = [rig.start(), rig.start(), rig.start()];
    await settled();
    expect(rig.called()).toEqual(["a", "a"]);
    brake.set(true);
    await rig.until("the attempts under way", () => rig.engine.gauges().heldBack.steps === 2);
    expect(rig.states(first!)).toEqual(["a succeeded", "b queued"]);
    expect(rig.engine.heldBack(first!)).toEqual({ reason: WHY, whole: false, steps: ["b"] });
    expect(rig.engine.heldBack(third!)?.whole).toBe(true);
    await rig.engine.cancel(second!, "local:0", "no longer");
    const person = rig.start({}, "p", MANUAL);
    await rig.ended(person);
    brake.set(false);
    await rig.ended(third!);
    expect(rig.states(first!)).toEqual(["a succeeded", "b succeeded"]);
    expect(rig.calls.filter((call) => call.run === second)).toHaveLength(1);
  });

  test("a lease that the store has not taken by then is not sent again", async () => {
    const brake = aBrake();
    const store = new MemoryRunStore();
    const rig = runRig(CHAIN, () => ok(), { brake, store, longWay: true });
    store.failNext = 1;
    const id = rig.start();
    await settled();
    brake.set(true);
    await rig.clock.advance(60_000);
    expect(rig.calls).toEqual([]);
    expect(rig.states(id)).toEqual(["a queued", "b waiting"]);
    expect(rig.engine.gauges().sideEffects.used).toBe(0);
    brake.set(false);
    await rig.ended(id);
    expect(rig.called()).toEqual(["a", "b"]);
  });

  test("a step that waits for its turn while the brake comes on does not lease when it has it", async () => {
    const brake = aBrake();
    const store = new MemoryRunStore();
    const rig = runRig(aPipeline([aStep("a"), aStep("b")]), () => ok(), { brake, store, longWay: true });
    const held = Promise.withResolvers<void>();
    store.pause = held.promise;
    const id = rig.start();
    await settled();
    // The lease of a is with the store, that of b waits behind it.
    brake.set(true);
    store.pause = null;
    held.resolve();
    await rig.until("the end of a", () => rig.engine.gauges().heldBack.steps === 1);
    expect(rig.states(id)).toEqual(["a succeeded", "b queued"]);
    expect(rig.engine.gauges().sideEffects.used).toBe(1);
    brake.set(false);
    await rig.ended(id);
    expect(rig.called()).toEqual(["a", "b"]);
  });

  test("what a schedule's run began is held back, what a person's run began is not", async () => {
    const brake = aBrake();
    const outer = aPipeline([aStep("inner", { work: "pipeline", action: "child" })]);
    const child = { ...aPipeline([aStep("c"), aStep("d", { needs: ["c"] })]), name: "child" };
    const rig = runRig([outer, child], async () => (await rig.clock.sleep(10), ok()), { brake });
    const [schedule, person] = [rig.start({}, "p", SCHEDULE), rig.start({}, "p", MANUAL)];
    await settled();
    brake.set(true);
    await rig.ended(person);
    await rig.clock.advance(60_000);
    expect(rig.called()).toEqual(["c", "c", "d"]);
    brake.set(false);
    expect((await rig.ended(schedule)).run.state).toBe("succeeded");
  });

  test("what cleans up waits too, and a retry that is due", async () => {
    const brake = aBrake();
    const definition = aPipeline(
      [aStep("a", { retry: { attempts: 2, kind: "fixed", initialMs: 1000, maxMs: 1000 } })],
      { onFailure: [aStep("tell")] },
    );
    const act = async ({ step, attempt }: ActionCall) => {
      if (attempt === 2) await rig.clock.sleep(10);
      return step === "tell" ? ok() : failed(false);
    };
    const rig = runRig(definition, act, { brake });
    const id = rig.start();
    await settled();
    brake.set(true);
    await rig.clock.advance(5000);
    expect(rig.called()).toEqual(["a"]);
    brake.set(false);
    await rig.until("the second try", () => rig.calls.length === 2);
    brake.set(true);
    await rig.clock.advance(5000);
    expect(rig.engine.heldBack(id)?.steps).toEqual(["tell"]);
    brake.set(false);
    expect((await rig.ended(id)).run.state).toBe("failed");
    expect(rig.called()).toEqual(["a", "a", "tell"]);
  });

  test("a run that a schedule's or a person's run began is as that one, also after a restart when that one has ended", async () => {
    const store = new MemoryRunStore();
    const spawn = aPipeline([aStep("a"), aStep("b", { needs: ["a"] })]);
    const child = { ...aPipeline([aStep("c"), aStep("d", { needs: ["c"] })]), name: "child" };
    const brake = aBrake();
    const rig = runRig(
      [spawn, child],
      async (call) => {
        if (call.step === "a") {
          await call.add([{ kind: "spawn", action: "child", pipeline: true, with: {} }]);
        }
        if (call.step === "c") await new Promise(() => {});
        return ok();
      },
      { store, brake, effectOf: () => "idempotent" },
    );
    const parents = [rig.start({}, "p", SCHEDULE), rig.start({}, "p", MANUAL)];
    for (const id of parents) await rig.ended(id);
    await settled();
    rig.crash();
    const spawned = (parent: string) =>
      [...store.runs.values()].find(({ run }) => run.starter.by === parent)!.run.id;
    const [ofSchedule, ofPerson] = parents.map(spawned);
    const braked = aBrake(true);
    const again = runRig([spawn, child], () => ok(), { store, brake: braked, clock: rig.clock });
    await again.engine.recover();
    await again.until("the person's", () => hasEnded(store.runs.get(ofPerson!)!.run.state));
    expect(again.calls.some((call) => call.run === ofSchedule)).toBe(false);
    braked.set(false);
    await again.ended(ofSchedule!);
  });

  test("a restart finds it on: what was open waits, whatever state it was in", async () => {
    const store = new MemoryRunStore();
    const rig = runRig(CHAIN, () => new Promise(() => {}), { store });
    const ids = [rig.start(), rig.start()];
    await settled();
    rig.crash();
    const brake = aBrake(true);
    const again = runRig(
      { ...CHAIN, steps: CHAIN.steps.map((each) => ({ ...each, effect: "idempotent" as const })) },
      () => ok(),
      { store, brake, clock: rig.clock },
    );
    await again.engine.recover();
    await again.clock.advance(60_000);
    expect(again.calls).toEqual([]);
    brake.set(false);
    for (const id of ids) await again.ended(id);
    expect(store.runs.get(ids[1]!)!.run.state).toBe("succeeded");
  });

  test("people are let in though the agent has as many open runs as it may, and a retry by a person is a person's", async () => {
    const brake = aBrake(true);
    const rig = runRig(CHAIN, () => ok(), { brake, maxOpenRuns: 2 });
    rig.start({}, "p", BY_RULE);
    rig.start({}, "p", BY_RULE);
    const id = await rig.engine.start({ pipeline: "p", params: {}, by: "local:0" });
    await rig.ended(id);
    const retried = await rig.engine.retry(id, "local:0");
    expect((await rig.ended(retried)).run.state).toBe("succeeded");
  });
});
