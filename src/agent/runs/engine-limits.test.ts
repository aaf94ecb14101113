/** What holds runs and attempts back: places by pipeline and key, priorities, circuits, caps on side effects, room. */
import { describe, expect, test } from "bun:test";
import type { PipelineDefinition } from "../../model/pipeline.ts";
import { hasEnded } from "../../model/run.ts";
import { MemoryRunStore } from "../../testing/memory-run-store.ts";
import { pipeline as aPipeline, step as aStep } from "../../testing/definitions.ts";
import { BY_RULE, failed, ok, runRig, unknown } from "../../testing/engine-rig.ts";
import { VirtualClock } from "../../testing/virtual-clock.ts";

const MANUAL = { kind: "manual" as const, by: "local:0" };

/** Steps take 10 ms; notes the order in which runs begin and how many are under way. */
function busy(
  definition: PipelineDefinition | PipelineDefinition[],
  options: Parameters<typeof runRig>[2] = {},
) {
  const order: string[] = [];
  let under = 0;
  let most = 0;
  const rig = runRig(
    definition,
    async ({ run }) => {
      order.push(run);
      most = Math.max(most, ++under);
      await rig.clock.sleep(10);
      under--;
      return ok();
    },
    options,
  );
  const all = async (ids: string[]) => {
    for (const id of ids) expect((await rig.ended(id)).run.state).toBe("succeeded");
  };
  return { ...rig, order, most: () => most, all };
}

describe("places", () => {
  test("runs over the pipeline's limit wait their turn, the older first", async () => {
    const { start, all, order, most } = busy(aPipeline([aStep("a")], { concurrency: 2 }));
    const ids = Array.from({ length: 9 }, () => start());
    await all(ids);
    expect(most()).toBe(2);
    expect(order).toEqual(ids);
  });

  test("runs with the same key wait for each other, those with another one pass them", async () => {
    const byKey = { key: "${{ params.k }}", limit: 1 };
    const rig = busy(aPipeline([aStep("a")], { concurrency: 4, concurrencyByKey: byKey }));
    const [x1, x2, y1, x3] = ["x", "x", "y", "x"].map((k) => rig.start({ k }));
    await rig.all([x1!, x2!, y1!, x3!]);
    expect(rig.order).toEqual([x1!, y1!, x2!, x3!]);
    expect(rig.most()).toBe(2);
  });

  test("a higher priority gets the next free place, of the pipeline, of the key and of the agent", async () => {
    const ids: Record<string, string> = {};
    const check = async (rig: ReturnType<typeof busy>) => {
      for (const [name, priority] of [
        ["first", 0],
        ["low", -5],
        ["high", 7],
        ["high2", 7],
      ] as const) {
        ids[name] = rig.start({ k: "x" }, "p", BY_RULE, priority);
      }
      await rig.all(Object.values(ids));
      expect(rig.order).toEqual(["first", "high", "high2", "low"].map((name) => ids[name]!));
    };
    await check(busy(aPipeline([aStep("a")], { concurrency: 1 })));
    await check(busy(aPipeline([aStep("a")], { concurrencyByKey: { key: "${{ params.k }}", limit: 1 } })));
    await check(busy(aPipeline([aStep("a")]), { maxSteps: 1 }));
  });

  test("ten thousand runs that wait are let go in order, and each costs little", async () => {
    const rig = runRig(aPipeline([aStep("a")], { concurrency: 3 }), () => ok());
    const ids = Array.from({ length: 10_000 }, (_, index) => rig.start({}, "p", BY_RULE, index % 3));
    await rig.until("all of them", () => rig.engine.openRuns === 0);
    const index = new Map(ids.map((id, at) => [id, at]));
    const order = rig.calls.map(({ run }) => index.get(run)!).slice(3);
    const expected = ids
      .map((_, at) => at)
      .slice(3)
      .toSorted((a, b) => (b % 3) - (a % 3) || a - b);
    expect(order).toEqual(expected);
  }, 60_000);

  test("a key that cannot be made refuses the run", () => {
    const { start } = busy(
      aPipeline([aStep("a")], { concurrencyByKey: { key: "${{ params.nope }}", limit: 1 } }),
    );
    expect(() => start()).toThrow("No such key: nope");
  });

  test("people are refused over limits.runs, triggers wait for room, and health tells", async () => {
    const rig = busy(aPipeline([aStep("a")], { concurrency: 1 }), { maxOpenRuns: 3 });
    const ids = [rig.start(), rig.start(), rig.start()];
    await expect(rig.engine.start({ pipeline: "p", params: {}, by: "local:0" })).rejects.toThrow(
      "limits.runs",
    );
    expect(rig.engine.counters.refused).toBe(1);
    expect(rig.engine.problem()).toContain("near capacity");
    let room = false;
    void rig.engine.room().then(() => (room = true));
    await rig.until("the first end", () => hasEnded(rig.store.runs.get(ids[0]!)!.run.state));
    expect(room).toBe(true);
    await rig.all(ids);
    expect(rig.engine.problem()).toBeNull();
    expect(rig.engine.gauges()).toMatchObject({ runsWaiting: 0, stepsInFlight: 0, states: {} });
  });

  test("many failures in a row are a problem, a few are not", async () => {
    let bad = true;
    const rig = runRig(aPipeline([aStep("a")]), () => (bad ? failed(true) : ok()));
    for (let index = 0; index < 19; index++) await rig.ended(rig.start());
    expect(rig.engine.problem()).toBeNull();
    await rig.ended(rig.start());
    expect(rig.engine.problem()).toContain("high failure rate: 100 %");
    bad = false;
    for (let index = 0; index < 100; index++) await rig.ended(rig.start());
    expect(rig.engine.problem()).toBeNull();
  });
});

describe("a circuit", () => {
  const breaker = { destination: "${{ params.url }}", failures: 2, delayMs: 10_000 };
  const calling = (retry = { attempts: 1, kind: "fixed" as const, initialMs: 1, maxMs: 1 }) =>
    aPipeline([aStep("a", { breaker, retry })]);
  const HERE = { url: "http://one.example/x" };

  test("opens after failures in a row, lets one call try it after the delay, and closes on success", async () => {
    let down = true;
    const rig = runRig(calling(), () => (down ? failed(true, true, "unreachable") : ok()));
    const run = async (params: { url: string }) => (await rig.ended(rig.start(params))).steps[0]!;
    await run(HERE);
    expect(rig.engine.breakers()).toEqual([
      { destination: "http://one.example", state: "closed", failures: 1 },
    ]);
    await run(HERE);
    expect(rig.engine.breakers()[0]!.state).toBe("open");
    expect(rig.engine.problem()).toBe("circuit open: http://one.example failed 2 times in a row");
    const refused = await run({ url: "http://one.example/other/path" });
    expect(refused.error).toMatchObject({ code: "circuit_open", started: false });
    expect(rig.calls).toHaveLength(2);
    await rig.clock.advance(10_000);
    expect((await run(HERE)).error!.code).toBe("unreachable");
    expect((await run(HERE)).error!.code).toBe("circuit_open");
    await rig.clock.advance(10_000);
    down = false;
    expect((await run(HERE)).state).toBe("succeeded");
    expect(rig.engine.breakers()).toEqual([]);
    expect(rig.engine.problem()).toBeNull();
    expect((await run({ url: "http://two.example" })).state).toBe("succeeded");
  });

  test("is not opened by answers: errors that are the caller's, and unknown outcomes but time-outs", async () => {
    const outcomes = [failed(true, false), failed(true, true, "denied"), unknown(), failed(true, false)];
    const rig = runRig(calling(), () => outcomes.shift()!);
    for (let index = 0; index < 4; index++) await rig.ended(rig.start(HERE));
    expect(rig.engine.breakers()).toEqual([]);
    const late = runRig(calling(), () => unknown("timed_out"));
    for (let index = 0; index < 2; index++) await late.ended(late.start(HERE));
    expect(late.engine.breakers()[0]!.state).toBe("open");
  });

  test("a step with retries waits it out", async () => {
    let down = 2;
    const retry = { attempts: 5, kind: "fixed" as const, initialMs: 6_000, maxMs: 60_000 };
    const rig = runRig(calling(retry), () => (down-- > 0 ? failed(false, true, "unavailable") : ok()));
    const { run, steps } = await rig.ended(rig.start(HERE));
    expect(run.state).toBe("succeeded");
    expect(steps[0]).toMatchObject({ attempts: 4 });
    expect(rig.calls).toHaveLength(3);
  });
});

describe("the cap on side effects", () => {
  test("ends runs that rules start before they begin, and lets people's pass", async () => {
    const rig = runRig(aPipeline([aStep("a")], { sideEffectsPerHour: 2 }), () => ok());
    const ends = [];
    for (let index = 0; index < 3; index++) ends.push((await rig.ended(rig.start())).run);
    expect(ends.map(({ state }) => state)).toEqual(["succeeded", "succeeded", "skipped"]);
    expect(ends[2]!.reason).toContain("side_effects_per_hour of pipeline p is used up");
    expect((await rig.ended(rig.start({}, "p", MANUAL))).run.state).toBe("succeeded");
    expect(rig.engine.gauges().sideEffects).toEqual({ used: 2, cap: 1_000_000 });
    await rig.clock.advance(61 * 60_000);
    expect((await rig.ended(rig.start())).run.state).toBe("succeeded");
    expect(rig.store.letters.size).toBe(0);
  });

  test("fails a step of a run that has begun; what cleans up and tells goes on", async () => {
    const definition = aPipeline([aStep("a"), aStep("b", { needs: ["a"] })], {
      finally: [aStep("f")],
      onFailure: [aStep("e", { with: { code: "${{ failure.code }}" } })],
    });
    const rig = runRig(definition, () => ok(), { maxSideEffects: 1 });
    const id = rig.start();
    expect((await rig.ended(id)).run.state).toBe("failed");
    expect(rig.states(id)).toEqual(["a succeeded", "b failed", "f succeeded", "e succeeded"]);
    expect(rig.calls.at(-1)!.input).toEqual({ code: "limited" });
    expect(rig.engine.counters.limited).toBe(1);
    expect(rig.engine.gauges().sideEffects.used).toBe(3);
  });

  test("binds the runs of rule-started runs, and is read again after a restart", async () => {
    const pipelines = [
      aPipeline([aStep("sub", { work: "pipeline", action: "child" })]),
      aPipeline([aStep("a")], { name: "child", sideEffectsPerHour: 1 }),
    ];
    const store = new MemoryRunStore();
    const clock = new VirtualClock();
    const rig = runRig(pipelines, () => ok(), { store, clock });
    expect((await rig.ended(rig.start())).run.state).toBe("succeeded");
    const again = runRig(pipelines, () => ok(), { store, clock });
    await again.engine.recover();
    const { run, steps } = await again.ended(again.start());
    expect(run.state).toBe("failed");
    expect(steps[0]!.error).toMatchObject({ code: "child_failed" });
    expect(again.calls).toHaveLength(0);
    expect((await again.ended(again.start({}, "p", MANUAL))).run.state).toBe("succeeded");
  });
});
