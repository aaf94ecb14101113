/** Circles of locks, child runs and places: somebody in them gives way, and the others go on. */
import { expect, test } from "bun:test";
import type { ExclusiveDefinition } from "../../model/pipeline.ts";
import type { AttemptOutcome } from "../../model/run-transitions.ts";
import { pipeline as aPipeline, step as aStep } from "../../testing/definitions.ts";
import { ok, runRig } from "../../testing/engine-rig.ts";
import { MemoryRunStore } from "../../testing/memory-run-store.ts";
import { VirtualClock } from "../../testing/virtual-clock.ts";

const queue = (lock: string): ExclusiveDefinition => ({ lock, busy: "queue" });
const sub = (needs: string[] = []) => aStep("sub", { needs, work: "pipeline", action: "below" });
/** Holds the lock, works for a while, and then runs `below`. */
const above = aPipeline([aStep("slow"), sub(["slow"])], { name: "above", exclusive: queue("l") });
/** One at a time; by its parameter it wants the lock or another one. */
const below = aPipeline([aStep("in")], {
  name: "below",
  concurrency: 1,
  exclusive: queue("${{ params.l }}"),
});
const freeBelow = { ...above, steps: [aStep("slow"), { ...sub(["slow"]), with: { l: "other" } }] };

function slowRig(pipelines: Parameters<typeof runRig>[0], options: Parameters<typeof runRig>[2] = {}) {
  const rig = runRig(
    pipelines,
    async ({ step }) => {
      if (step === "slow") await rig.clock.sleep(50);
      return ok();
    },
    options,
  );
  return rig;
}

test("a child run that waits for a place whose owner waits for its parent's lock gives way", async () => {
  const { start, ended, store } = slowRig([freeBelow, below]);
  const holder = start({}, "above");
  const waiter = start({ l: "l" }, "below");
  const { run, steps } = await ended(holder);
  expect(run.state).toBe("failed");
  expect(steps[1]!.error!.message).toContain(
    `pipeline below has no place for it: the runs that have one wait`,
  );
  expect((await ended(waiter)).run.state).toBe("succeeded");
  expect(store.places).toEqual([]);
});

test("with a place left over the child run takes it", async () => {
  const { start, ended } = slowRig([freeBelow, { ...below, concurrency: 2 }]);
  const ids = [start({}, "above"), start({ l: "l" }, "below")];
  for (const id of ids) expect((await ended(id)).run.state).toBe("succeeded");
});

test("a child run that one under way will leave a place to waits for it", async () => {
  const busy = aPipeline([aStep("slow")], { name: "below", concurrency: 1 });
  const { start, ended } = slowRig([{ ...freeBelow, steps: [sub()] }, busy]);
  const ids = [start({}, "below"), start({}, "below"), start({}, "above")];
  for (const id of ids) expect((await ended(id)).run.state).toBe("succeeded");
});

test("a run that would wait for a lock, whose holder waits for its place, gives way", async () => {
  const wants = aPipeline([aStep("slow"), aStep("in", { needs: ["slow"], exclusive: queue("l") })], {
    name: "below",
    concurrency: 1,
  });
  const { start, ended, states, store } = slowRig([{ ...above, steps: [sub()] }, wants]);
  const first = start({}, "below");
  const holder = start({}, "above");
  await ended(first);
  expect(states(first)).toEqual(["slow succeeded", "in failed"]);
  expect(store.step(first, "in").error!.code).toBe("deadlock");
  // Its own child asks for the lock that it holds: that is a circle too.
  expect((await ended(holder)).run.state).toBe("failed");
});

test("two pipelines that run each other with one place each: one gives way, no lock is in it", async () => {
  const one = aPipeline([aStep("slow"), { ...sub(["slow"]), action: "q" }], { name: "p", concurrency: 1 });
  const other = aPipeline([aStep("slow"), { ...sub(["slow"]), action: "p", when: "params.down" }], {
    name: "q",
    concurrency: 1,
  });
  const { start, ended } = slowRig([one, other]);
  const ids = [start({}, "p"), start({ down: true }, "q")];
  const states: string[] = [];
  for (const id of ids) states.push((await ended(id)).run.state);
  expect(states).toContain("failed");
});

test("runs that begin to wait for each other in one moment do not all give way", async () => {
  const both = (name: string, one: string, other: string) =>
    aPipeline(
      [aStep("a", { exclusive: queue(one) }), aStep("b", { needs: ["a"], exclusive: queue(other) })],
      { name },
    );
  /** Changes become durable in groups, as in the real store. */
  const clock = new VirtualClock();
  class Grouped extends MemoryRunStore {
    readonly #group: (() => void)[] = [];
    override async changeRun(change: Parameters<MemoryRunStore["changeRun"]>[0]) {
      await new Promise<void>((resolve) => {
        this.#group.push(resolve);
        if (this.#group.length > 1) return;
        clock.after(1, () => {
          for (const go of this.#group.splice(0)) go();
        });
      });
      return await super.changeRun(change);
    }
  }
  const circle = [both("p", "x", "y"), both("q", "y", "z"), both("r", "z", "x")];
  const { start, ended } = runRig(circle, () => ok(), { store: new Grouped(), clock });
  const ids = ["p", "q", "r"].map((name) => start({}, name));
  const ends: string[] = [];
  for (const id of ids) ends.push((await ended(id)).run.state);
  expect(ends.toSorted()).toEqual(["failed", "succeeded", "succeeded"]);
});

test("a circle that was durable before a restart, or that fewer places make, is found after it", async () => {
  const store = new MemoryRunStore();
  const clock = new VirtualClock();
  const never = () => new Promise<AttemptOutcome>(() => {});
  const act = ({ step }: { step: string }) => (step === "slow" ? ok() : never());
  const wide = { ...below, concurrency: 2 };
  const before = runRig([freeBelow, wide], act, { store, clock });
  const other = before.start({ l: "more" }, "below");
  await before.until("its work", () => before.calls.length === 1);
  const waiter = (before.start({}, "above"), before.start({ l: "l" }, "below"));
  await before.until("a child run", () => store.runs.size === 4);
  const holder = [...store.runs.values()].find(({ run }) => run.pipeline === "above")!.run.id;
  before.crash();
  const after = runRig([freeBelow, below], () => ok(), { store, clock });
  await after.engine.recover();
  expect((await after.ended(holder)).run.state).toBe("failed");
  expect((await after.ended(waiter)).run.state).toBe("succeeded");
  await after.ended(other);
  expect(store.places).toEqual([]);
});

test("after a restart those who had a place keep it, before older ones that had none", async () => {
  const store = new MemoryRunStore();
  const clock = new VirtualClock();
  const never = () => new Promise<AttemptOutcome>(() => {});
  const one = aPipeline([aStep("in", { effect: "idempotent" })], { concurrency: 1 });
  const before = runRig(one, async ({ run }) => (run === first ? (await clock.sleep(10), ok()) : never()), {
    store,
    clock,
  });
  const first: string = before.start();
  const older = before.start();
  const higher = before.start({}, "p", undefined, 2);
  await before.until("the higher one", () => before.calls.at(-1)?.run === higher);
  before.crash();
  let under = 0;
  const work = async () => {
    expect(++under).toBe(1);
    await clock.sleep(10);
    under--;
    return ok();
  };
  const after = runRig(one, work, { store, clock });
  await after.engine.recover();
  for (const id of [older, higher]) expect((await after.ended(id)).run.state).toBe("succeeded");
  expect(after.calls.map(({ run }) => run)).toEqual([higher, older]);
});
