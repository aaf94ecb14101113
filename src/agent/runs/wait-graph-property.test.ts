import { expect, test } from "bun:test";
import { hasEnded, type RunState, type StepRow } from "../../model/run.ts";
import { Seeded } from "../../testing/seeded.ts";
import type { HeldRun } from "./held-run.ts";
import { Locks } from "./locks.ts";
import { RunPlaces } from "./run-places.ts";
import { WaitGraph } from "./wait-graph.ts";

const SEEDS = 3_000;

interface Waiting {
  runs: Map<string, HeldRun>;
  locks: Locks;
  places: RunPlaces;
  yielding: Set<string>;
}

const child = (id: string, of: string): Partial<StepRow> => ({
  stepId: id,
  state: "running",
  extra: { child: of },
});
const atLock = (id: string): Partial<StepRow> => ({ stepId: id, state: "waiting", waits: "lock" });

/** Some runs of two pipelines with few places, few locks, and child runs. */
function randomWaiting(random: Seeded): Waiting {
  const names = Array.from({ length: random.int(2, 8) }, (_, at) => `r${at}`);
  const [locks, places] = [new Locks(), new RunPlaces(() => {})];
  const limits = new Map(
    ["p", "q"].map((name) => [name, { pipeline: random.int(1, 3), byKey: random.int(1, 2) }]),
  );
  const runs = new Map<string, HeldRun>();
  const orphans = new Set(names);
  for (const name of names) {
    const pipeline = random.pick(["p", "q"]);
    const request = { run: name, pipeline, key: random.pick([null, "a", "b"]), priority: random.int(0, 1) };
    places.add(request, limits.get(pipeline)!, random.chance(0.2));
    const steps = new Map<string, StepRow>();
    const open = places.hasBegun(name) && random.chance(0.7);
    for (let at = random.pick([0, 0, 1, 2]); open && at > 0; at--) {
      const free = [...orphans].filter((other) => other !== name);
      const begun = free.length > 0 && random.chance(0.8) ? random.pick(free) : "gone";
      orphans.delete(begun);
      steps.set(`c${at}`, child(`c${at}`, begun) as StepRow);
    }
    if (open && random.chance(0.6)) steps.set("w", atLock("w") as StepRow);
    const state: RunState = random.chance(0.05) ? "succeeded" : "running";
    if (!random.chance(0.05)) runs.set(name, { run: { id: name, state }, steps, open } as unknown as HeldRun);
  }
  for (let at = random.int(0, 10); at > 0; at--)
    locks.enter(random.pick(names), random.pick(["x", "y", "z"]));
  return { runs, locks, places, yielding: new Set(names.filter(() => random.chance(0.05))) };
}

/** The locks that a run waits for, and who stands in front of it there. */
function lockQueues({ runs, locks }: Waiting, id: string, asked: string | null): string[][] {
  const { open, steps } = runs.get(id)!;
  const waits =
    !open || [...steps.values()].some(({ state, waits }) => state === "waiting" && waits === "lock");
  const names = new Set(waits ? locks.awaited(id) : []);
  if (asked !== null) names.add(asked);
  return [...names].map((name) => {
    const queue = [...locks.queue(name)];
    const at = queue.indexOf(id);
    return at < 0 ? queue : queue.slice(0, at);
  });
}

function childrenOf({ runs }: Waiting, id: string): string[] {
  const rows = [...runs.get(id)!.steps.values()];
  return rows.flatMap(({ state, extra }) => (state === "running" && extra?.child ? [extra.child] : []));
}

/** Runs that come to their end: all those, as often as it takes, that nothing holds but what is known to end. */
function ending(waiting: Waiting, asker: string, lock: string | null): Set<string> {
  const { runs, places, yielding } = waiting;
  const ends = new Set<string>();
  const ended = (id: string) => !runs.has(id) || hasEnded(runs.get(id)!.run.state) || ends.has(id);
  const free = (id: string) => {
    const asked = id === asker ? lock : null;
    if (asked === null && yielding.has(id)) return true;
    return (
      [...places.before(id)].every((group) => group.runs.filter((run) => !ended(run)).length < group.limit) &&
      lockQueues(waiting, id, asked).flat().every(ended) &&
      childrenOf(waiting, id).every(ended)
    );
  };
  for (let before = -1; before < ends.size;) {
    before = ends.size;
    for (const id of runs.keys()) if (!ended(id) && free(id)) ends.add(id);
  }
  for (const [id, { run }] of runs) if (hasEnded(run.state)) ends.add(id);
  return ends;
}

/** A run that does not end, and that others who do not end either lead back to itself. */
function isDeadlock(waiting: Waiting, asker: string, lock: string | null): boolean {
  const ends = ending(waiting, asker, lock);
  const stuck = (id: string) => waiting.runs.has(id) && !ends.has(id);
  if (!stuck(asker)) return false;
  const next = (id: string) =>
    [
      ...[...waiting.places.before(id)].flatMap(({ runs }) => runs),
      ...lockQueues(waiting, id, id === asker ? lock : null).flat(),
      ...childrenOf(waiting, id),
    ].filter(stuck);
  const reached = new Set<string>();
  const left = next(asker);
  for (let id = left.pop(); id !== undefined; id = left.pop()) {
    if (reached.has(id)) continue;
    reached.add(id);
    left.push(...next(id));
  }
  return reached.has(asker);
}

test("who is in a deadlock is who a naive search finds, asked on its own or one after the other", () => {
  const counts = { true: 0, false: 0 };
  for (let seed = 1; seed <= SEEDS; seed++) {
    const waiting = randomWaiting(new Seeded(seed));
    const shared = new WaitGraph(waiting);
    for (const id of waiting.runs.keys()) {
      const own = isDeadlock(waiting, id, null);
      const told = `seed ${seed}, run ${id}`;
      if (shared.isDeadlock(id, null) !== own) expect(own, `${told}, after others`).toBe(!own);
      for (const lock of [null, "x", "y"]) {
        if (lock !== null && waiting.locks.holder(lock) === id) continue;
        const wanted = isDeadlock(waiting, id, lock);
        const found = new WaitGraph(waiting).isDeadlock(id, lock);
        if (found !== wanted) expect(found, `${told}, asking for ${lock}`).toBe(wanted);
        counts[`${wanted}`]++;
      }
    }
  }
  // Both happen often enough to mean something.
  expect(Math.min(counts.true, counts.false)).toBeGreaterThan(SEEDS / 4);
}, 60_000);
