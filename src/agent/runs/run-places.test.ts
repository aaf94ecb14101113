import { expect, test } from "bun:test";
import { RunPlaces } from "./run-places.ts";
import { StepPlaces } from "./step-places.ts";

interface Waiting {
  run: string;
  pipeline: string;
  key: string | null;
  priority: number;
}

const LIMITS = { pipeline: 3, byKey: 2 };

/** The same by looking at everything each time. */
class NaivePlaces {
  waiting: Waiting[] = [];
  begun: Waiting[] = [];

  next(): string[] {
    const order: string[] = [];
    for (;;) {
      const free = this.waiting
        .filter((each) => {
          const beside = this.begun.filter(({ pipeline }) => pipeline === each.pipeline);
          const alike = beside.filter(({ key }) => key !== null && key === each.key);
          return beside.length < LIMITS.pipeline && alike.length < LIMITS.byKey;
        })
        .toSorted((a, b) => b.priority - a.priority);
      const [first] = free;
      if (!first) return order;
      this.waiting = this.waiting.filter((each) => each !== first);
      this.begun.push(first);
      order.push(first.run);
    }
  }
}

test("places go as a naive reference gives them, whatever comes and goes", () => {
  let seed = 11;
  const dice = (sides: number) => (seed = (seed * 48_271) % 2_147_483_647) % sides;
  for (let round = 0; round < 60; round++) {
    const begun: string[] = [];
    const places = new RunPlaces((run) => void begun.push(run));
    const naive = new NaivePlaces();
    const expected: string[] = [];
    for (let turn = 0; turn < 120; turn++) {
      const open = [...naive.waiting, ...naive.begun];
      if (open.length === 0 || dice(5) < 3) {
        const key = dice(3) === 0 ? null : `k${dice(3)}`;
        const request = { run: `${turn}`, pipeline: `p${dice(2)}`, key, priority: dice(3) };
        naive.waiting.push(request);
        expected.push(...naive.next());
        places.add(request, LIMITS, false);
      } else {
        const gone = open[dice(open.length)]!;
        naive.waiting = naive.waiting.filter((each) => each !== gone);
        naive.begun = naive.begun.filter((each) => each !== gone);
        expected.push(...naive.next());
        places.remove(gone.run);
      }
      expect(begun).toEqual(expected);
      expect(places.waiting).toBe(naive.waiting.length);
    }
  }
});

test("a run that had its place before keeps it over the limit, and nothing begins after a stop", () => {
  const begun: string[] = [];
  const places = new RunPlaces((run) => void begun.push(run));
  const one = (run: string) => ({ run, pipeline: "p", key: null, priority: 0 });
  const limits = { pipeline: 1, byKey: 1 };
  for (const run of ["a", "b"]) places.add(one(run), limits, true);
  places.add(one("c"), limits, false);
  places.remove("a");
  expect(begun).toEqual(["a", "b"]);
  expect([places.hasBegun("b"), places.hasBegun("c")]).toEqual([true, false]);
  places.stop();
  places.remove("b");
  expect(begun).toEqual(["a", "b"]);
});

test("a step gives its place back when it says so, and is waited for until it settles", async () => {
  const places = new StepPlaces(1);
  const begun: string[] = [];
  let settle = () => {};
  places.add(0, async (free) => {
    begun.push("first");
    free();
    free();
    await new Promise<void>((resolve) => (settle = resolve));
  });
  places.add(0, async () => void begun.push("second"));
  expect(begun).toEqual(["first", "second"]);
  let idle = false;
  const done = places.idle().then(() => (idle = true));
  await Promise.resolve();
  expect(idle).toBe(false);
  settle();
  await done;
  expect([places.inFlight, places.waiting]).toEqual([0, 0]);
});
