/** Named locks (row G-04): one run at a time inside, first come, first served, freed however the holder ends. */
import { describe, expect, test } from "bun:test";
import type { ExclusiveDefinition, PipelineDefinition } from "../../model/pipeline.ts";
import type { AttemptOutcome } from "../../model/run-transitions.ts";
import { MemoryRunStore } from "../../testing/memory-run-store.ts";
import { pipeline as aPipeline, step as aStep } from "../../testing/definitions.ts";
import { failed, ok, runRig } from "../../testing/engine-rig.ts";
import { VirtualClock } from "../../testing/virtual-clock.ts";

const queue = (lock: string): ExclusiveDefinition => ({ lock, busy: "queue" });
const abort = (lock: string): ExclusiveDefinition => ({ lock, busy: "abort" });
const inside = (exclusive = queue("l"), options: Partial<PipelineDefinition> = {}) =>
  aPipeline(
    [aStep("before"), aStep("in", { needs: ["before"], exclusive }), aStep("after", { needs: ["in"] })],
    options,
  );

/** Runs whose steps take 10 ms; notes who is inside when. */
function watched(pipelines: PipelineDefinition | PipelineDefinition[], bad: string[] = []) {
  const entered: string[] = [];
  let under = 0;
  let most = 0;
  const rig = runRig(pipelines, async ({ run, step, action }) => {
    if (step !== "in") return ok();
    entered.push(run);
    most = Math.max(most, ++under);
    await rig.clock.sleep(10);
    under--;
    return bad.includes(action) ? failed(true) : ok();
  });
  return { ...rig, entered, most: () => most };
}

describe("a lock of a step", () => {
  test("is held until the run ends; three runs come in the order in which they asked", async () => {
    const { start, ended, entered, most, store, called } = watched(inside());
    const ids = [start(), start(), start()];
    for (const id of ids) expect((await ended(id)).run.state).toBe("succeeded");
    expect(most()).toBe(1);
    expect(entered).toEqual(ids);
    expect(called().slice(0, 3)).toEqual(["before", "before", "before"]);
    expect(store.places).toEqual([]);
    expect(store.step(ids[2]!, "in")).toMatchObject({ attempts: 1, fence: 1 });
  });

  test("is freed by a run that fails, and different locks do not touch each other", async () => {
    const broken = watched(inside(), ["in"]);
    const ids = [broken.start(), broken.start()];
    for (const id of ids) expect((await broken.ended(id)).run.state).toBe("failed");
    expect(broken.store.places).toEqual([]);
    const apart = watched(inside(queue("${{ params.l }}")));
    for (const id of [apart.start({ l: "x" }), apart.start({ l: "y" })]) await apart.ended(id);
    expect(apart.most()).toBe(2);
    const spaces = watched([inside(), inside(queue("l"), { name: "q", namespace: "other" })]);
    for (const id of [spaces.start(), spaces.start({}, "q")]) await spaces.ended(id);
    expect(spaces.most()).toBe(2);
  });

  test("asked for again in the same run is there already", async () => {
    const twice = aPipeline([
      aStep("in", { exclusive: queue("l") }),
      aStep("again", { needs: ["in"], exclusive: queue("l") }),
    ]);
    const { start, ended } = watched(twice);
    for (const id of [start(), start()]) expect((await ended(id)).run.state).toBe("succeeded");
  });

  test("that somebody waits for is listed with its holder", async () => {
    const { engine, start, ended, until, entered } = watched(inside());
    const [first, second] = [start(), start()];
    await until("one that waits", () => entered.length === 1 && engine.locks().length === 1);
    expect(engine.locks()).toEqual([{ lock: "default/l", holder: first, waiting: 1 }]);
    for (const id of [first, second]) await ended(id);
    expect(engine.locks()).toEqual([]);
  });

  test("with abort ends a run that comes second, and tells who holds it", async () => {
    const { start, ended, store } = watched(inside(abort("l")));
    const [first, second] = [start(), start()];
    expect((await ended(first)).run.state).toBe("succeeded");
    const { run, steps } = await ended(second);
    expect(run.state).toBe("failed");
    expect(run.reason).toContain(`exclusive lock default/l is held by run ${first}`);
    expect(steps.map((row) => row.state)).toEqual(["succeeded", "skipped", "skipped"]);
    expect(store.places).toEqual([]);
  });

  test("with abort fails a step of the parts at the end, which cannot end the run: the others go on", async () => {
    const tidy = aPipeline([aStep("one")], {
      name: "q",
      finally: [aStep("f"), aStep("in", { exclusive: abort("l") })],
    });
    const { start, ended, states, until, entered } = watched([inside(), tidy]);
    const first = start();
    await until("the first one inside", () => entered.length === 1);
    const second = start({}, "q");
    expect((await ended(second)).run.state).toBe("failed");
    expect(states(second)).toEqual(["one succeeded", "f succeeded", "in failed"]);
    expect((await ended(first)).run.state).toBe("succeeded");
  });

  test("two runs that would wait for each other do not: one of them fails", async () => {
    const both = (name: string, one: string, other: string) =>
      aPipeline(
        [aStep("a", { exclusive: queue(one) }), aStep("b", { needs: ["a"], exclusive: queue(other) })],
        { name },
      );
    const rig = runRig([both("p", "x", "y"), both("q", "y", "x")], async () => {
      await rig.clock.sleep(5);
      return ok();
    });
    const ids = [rig.start(), rig.start({}, "q")];
    const ends = [await rig.ended(ids[0]!), await rig.ended(ids[1]!)];
    expect(ends.map(({ run }) => run.state).toSorted()).toEqual(["failed", "succeeded"]);
    const loser = ends.find(({ run }) => run.state === "failed")!;
    expect(loser.steps[1]!.error!.code).toBe("deadlock");
  });

  test("a child run that wants its parent's lock fails instead of waiting for ever", async () => {
    const child = aPipeline([aStep("in", { exclusive: queue("l") })], { name: "child" });
    const parent = aPipeline([
      aStep("in", { exclusive: queue("l") }),
      aStep("sub", { needs: ["in"], work: "pipeline", action: "child" }),
    ]);
    const { start, ended } = watched([parent, child]);
    const { run, steps } = await ended(start());
    expect(run.state).toBe("failed");
    expect(steps[1]!.error!.message).toContain("which itself waits for run");
  });
});

describe("a lock of a pipeline", () => {
  const whole = (exclusive = queue("l")) => aPipeline([aStep("in")], { exclusive });

  test("is taken before the first step, in the order of the runs", async () => {
    const { start, ended, entered, most, store, until } = watched(whole());
    const ids = [start(), start(), start()];
    await until("the first one inside", () => entered.length === 1);
    expect(store.runs.get(ids[1]!)!.run).toMatchObject({ state: "waiting", reason: "waits for lock l" });
    for (const id of ids) expect((await ended(id)).run.state).toBe("succeeded");
    expect(most()).toBe(1);
    expect(entered).toEqual(ids);
  });

  test("with abort ends a second run before anything of it ran", async () => {
    const { start, ended, entered, until } = watched(whole(abort("l")));
    const first = start();
    await until("the first one inside", () => entered.length === 1);
    const { run } = await ended(start());
    expect(run.state).toBe("failed");
    expect(run.reason).toBe(`exclusive lock default/l is held by run ${first}`);
    expect((await ended(first)).run.state).toBe("succeeded");
    expect(entered).toEqual([first]);
  });

  test("whose name cannot be made ends the run", async () => {
    const { start, ended } = watched(whole(queue("${{ params.nope }}")));
    const { run } = await ended(start());
    expect(run).toMatchObject({ state: "failed" });
    expect(run.reason).toContain("No such key: nope");
  });

  test("is freed by a cancel of who holds it, and left by a cancel of who waits", async () => {
    const { engine, start, ended, entered, until, store } = watched(whole());
    const ids = [start(), start(), start()];
    await until("the first one inside", () => entered.length === 1);
    await engine.cancel(ids[1]!, "local:0", "not needed");
    expect(store.places.map(({ runId }) => runId)).toEqual([ids[0]!, ids[2]!]);
    await engine.cancel(ids[0]!, "local:0", "not needed");
    for (const id of ids) await ended(id);
    expect(ids.map((id) => store.runs.get(id)!.run.state)).toEqual(["cancelled", "cancelled", "succeeded"]);
  });
});

describe("after a restart", () => {
  test.each([queue("l"), abort("l")])(
    "the holder holds it still, and those who waited follow (%j)",
    async (exclusive) => {
      for (const definition of [
        inside(exclusive),
        aPipeline([aStep("in", { effect: "idempotent" })], { exclusive: queue("l"), concurrency: 1 }),
      ]) {
        const store = new MemoryRunStore();
        const clock = new VirtualClock();
        const never = () => new Promise<AttemptOutcome>(() => {});
        const before = runRig(definition, ({ step }) => (step === "in" ? never() : ok()), { store, clock });
        const ids = [before.start(), before.start(), before.start()];
        await before.until("the first one inside", () =>
          store.runs.get(ids[0]!)!.steps.some((row) => row.stepId === "in" && row.state === "running"),
        );
        const entered: string[] = [];
        let under = 0;
        const after = runRig(
          definition,
          async ({ run, step }) => {
            if (step !== "in") return ok();
            entered.push(run);
            expect(++under).toBe(1);
            await clock.sleep(10);
            under--;
            return ok();
          },
          { store, clock },
        );
        await after.engine.recover();
        for (const id of ids) await after.ended(id);
        expect(store.places).toEqual([]);
        // The attempt of a step inside that the crash cut off was at-most-once where it is inside: that run fails.
        const left = ids.filter((id) => store.runs.get(id)!.run.state === "succeeded");
        expect(entered).toEqual(left);
      }
    },
  );
});
