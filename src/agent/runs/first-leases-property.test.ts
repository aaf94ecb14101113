import { expect, test } from "bun:test";
import type { Effect, PipelineDefinition, StepDefinition } from "../../model/pipeline.ts";
import type { NewRun } from "../../model/run-build.ts";
import { pipeline, step } from "../../testing/definitions.ts";
import { AN_EVENT, BY_RULE, failed, ok, runRig, unknown } from "../../testing/engine-rig.ts";
import { retry } from "../../testing/run-rig.ts";
import { Seeded } from "../../testing/seeded.ts";

const SEEDS = 60;
const RUNS = 12;

interface Arrival {
  atMs: number;
  pipeline: string;
  priority: number;
  /** From its making until its commit is known; the order of the commits is that of the arrivals. */
  commitMs: number;
  /** Its event turns out to be a repeated one. */
  repeated: boolean;
}

function randomStep(dice: Seeded, id: string, before: string[]): StepDefinition {
  return step(id, {
    needs: before.filter(() => dice.chance(0.5)),
    when: dice.chance(0.1) ? "true" : null,
    exclusive: dice.chance(0.1) ? { lock: "l", busy: "queue" } : null,
    with: dice.chance(0.05) ? { x: "${{ event.data.nope }}" } : { n: "${{ event.data.n }}" },
    effect: dice.pick<Effect>(["idempotent", "at-most-once"]),
    retry: retry(dice.int(1, 3)),
    timeoutMs: 1000,
  });
}

function randomPipeline(dice: Seeded, name: string): PipelineDefinition {
  const steps: StepDefinition[] = [];
  for (let n = dice.int(1, 3); n > 0; n--) {
    steps.push(
      randomStep(
        dice,
        `s${n}`,
        steps.map(({ id }) => id),
      ),
    );
  }
  const byKey = dice.chance(0.2) ? { key: "k", limit: 1 } : null;
  return pipeline(steps, {
    name,
    concurrency: dice.int(1, 3),
    concurrencyByKey: byKey,
  });
}

/** What actions do depends on the step and the attempt alone; no two of them end at the same time. */
function outcomeOf(seed: number, index: number, stepId: string, attempt: number) {
  const dice = new Seeded(seed * 7919 + index * 101 + stepId.charCodeAt(1) * 13 + attempt);
  const outcome = dice.chance(0.7) ? ok(attempt) : dice.chance(0.5) ? failed(dice.chance(0.5)) : unknown();
  return { outcome, takesMs: dice.next() * 9 };
}

/** Everything that can be seen of all runs in the end, ids by the order of the arrivals. */
async function history(seed: number, longWay: boolean) {
  const dice = new Seeded(seed);
  const pipelines = [randomPipeline(dice, "p"), randomPipeline(dice, "q")];
  const indexes = new Map<string, number>();
  let ids = 0;
  const rig = runRig(
    pipelines,
    async ({ run, step: stepId, attempt }) => {
      const { outcome, takesMs } = outcomeOf(seed, indexes.get(run)!, stepId, attempt);
      await rig.clock.sleep(takesMs);
      return outcome;
    },
    {
      longWay,
      maxSteps: dice.int(1, 6),
      ids: { next: () => `id-${ids++}`, random: () => 0.5, hex: () => `hex-${ids++}` },
    },
  );
  const arrivals = arrivalsOf(dice);
  const records = new Map<string, string[]>();
  let leased = 0;
  let left = arrivals.length;
  let turn = Promise.resolve();
  arrivals.forEach(({ atMs, pipeline: name, priority, commitMs, repeated }, index) => {
    rig.clock.after(atMs, () => {
      const asked = { pipeline: name, starter: BY_RULE, event: AN_EVENT, params: {}, priority };
      const made = rig.engine.build(asked);
      const kept = longWay ? made : rig.engine.lease(made);
      indexes.set(made.run.id, index);
      if (kept.lease) leased++;
      turn = Promise.all([turn, rig.clock.sleep(commitMs)]).then(() => {
        left--;
        if (repeated) return rig.engine.drop([kept]);
        records.set(made.run.id, bodies(kept));
        rig.store.keep(kept, AN_EVENT);
        rig.engine.admit([kept]);
      });
    });
  });
  await rig.until("the end of all runs", () => left === 0 && rig.engine.openRuns === 0);
  for (const { runId, records: more } of rig.store.changes) {
    records.get(runId)!.push(...more.map(({ body }) => body));
  }
  const runs = [...rig.store.runs.values()].map((kept) => ({
    run: timeless(kept.run),
    steps: kept.steps.map(timeless),
    attempts: Object.groupBy(kept.attempts.map(timeless), (attempt) => String(attempt.stepId)),
    records: Object.groupBy(
      records.get(kept.run.id)!.map((body) => timeless(JSON.parse(body))),
      (record) => String(record.step),
    ),
  }));
  return {
    leased,
    seen: { runs, counters: rig.engine.counters, used: rig.engine.gauges().sideEffects.used },
    idle: [rig.engine.stepsInFlight, rig.engine.gauges().runsWaiting, rig.engine.gauges().stepsWaiting],
  };
}

function arrivalsOf(dice: Seeded): Arrival[] {
  return Array.from({ length: RUNS }, () => ({
    atMs: dice.int(0, 100),
    pipeline: dice.pick(["p", "q"]),
    priority: dice.int(0, 1),
    commitMs: dice.int(0, 5),
    repeated: dice.chance(0.15),
  }));
}

const bodies = ({ records }: NewRun) => records.map(({ body }) => body);

/** Parallel branches wait for places at other times, so that of a run only what one step goes through has an order. */
function timeless(row: object): Record<string, unknown> {
  return JSON.parse(JSON.stringify(row), (name, value) => (/Ms$|time|At$/i.test(name) ? undefined : value));
}

test(`${SEEDS} random histories are the same with first leases and without them`, async () => {
  let leased = 0;
  for (let seed = 1; seed <= SEEDS; seed++) {
    const [short, long] = [await history(seed, false), await history(seed, true)];
    leased += short.leased;
    expect({ seed, ...short.seen }).toEqual({ seed, ...long.seen });
    expect({ seed, idle: short.idle }).toEqual({ seed, idle: [0, 0, 0] });
  }
  // It proves nothing unless many runs took the short way, and many did not.
  expect(leased).toBeGreaterThan(SEEDS * RUNS * 0.2);
  expect(leased).toBeLessThan(SEEDS * RUNS * 0.8);
}, 60_000);
