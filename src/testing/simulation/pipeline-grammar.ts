import {
  EFFECTS,
  type ExclusiveDefinition,
  type PipelineDefinition,
  type RetryPolicy,
  type StepDefinition,
} from "../../model/pipeline.ts";
import { pipeline, step } from "../definitions.ts";
import type { Seeded } from "../seeded.ts";

const PASSED_ON = { k: "${{ params.k }}", v: "${{ params.v }}" };
/** Templates of locks: one for all runs, and one for each key. */
export const LOCKS = ["door", "gate", "${{ params.k }}"];

/** Some pipelines; one may have those after it as its parts, so that none is a part of itself. */
export function randomPipelines(random: Seeded): Map<string, PipelineDefinition> {
  const names = ["p0", "p1", "p2", "p3"].slice(0, random.int(2, 4));
  const made = names.map((name, at) => randomPipeline(random, name, names.slice(at + 1)));
  const withLocks = random.chance(0.6);
  if (!withLocks) for (const each of made) takeLocks(each);
  return new Map(made.map((each) => [each.name, each]));
}

function takeLocks(each: PipelineDefinition): void {
  each.exclusive = null;
  for (const one of each.steps) one.exclusive = null;
}

function randomPipeline(random: Seeded, name: string, parts: string[]): PipelineDefinition {
  const steps: StepDefinition[] = [];
  const count = random.int(1, 5);
  for (let at = 0; at < count; at++) steps.push(randomStep(random, `s${at}`, steps, parts));
  const last = (prefix: string) =>
    Array.from({ length: random.pick([0, 0, 1, 2]) }, (_, at) => plainStep(random, `${prefix}${at}`));
  return pipeline(steps, {
    name,
    namespace: random.pick(["default", "other"]),
    concurrency: random.int(1, 4),
    concurrencyByKey: random.chance(0.3) ? { key: "${{ params.k }}", limit: random.int(1, 2) } : null,
    priority: random.int(0, 2),
    deadlineMs: random.chance(0.25) ? random.pick([5_000, 60_000, 600_000]) : null,
    warnAfterMs: random.chance(0.2) ? 10_000 : null,
    exclusive: random.chance(0.3) ? randomLock(random) : null,
    sideEffectsPerHour: random.chance(0.15) ? random.int(3, 20) : null,
    output: random.chance(0.3) ? { from: "${{ params.k }}" } : null,
    finally: last("f"),
    onFailure: last("o"),
  });
}

function randomStep(random: Seeded, id: string, before: StepDefinition[], parts: string[]): StepDefinition {
  const made = plainStep(random, id);
  made.needs = before.filter(() => random.chance(0.4)).map((other) => other.id);
  if (random.chance(0.15)) made.when = random.pick(["params.v > 4", "params.v < 8", 'params.k == "k0"']);
  if (random.chance(0.2)) {
    made.foreach = { in: random.pick(["[1, 2, 3, 4]", "[1]", "[]"]), concurrency: random.int(1, 3) };
  }
  if (random.chance(0.15)) made.exclusive = randomLock(random);
  const kind = random.next();
  if (kind < 0.1 && parts.length > 0) {
    return { ...made, work: "pipeline", action: random.pick(parts), with: PASSED_ON, effect: "idempotent" };
  }
  if (kind < 0.2) {
    const timeoutMs = random.pick([10_000, 600_000]);
    const approval = { text: "go on with ${{ params.k }}?", timeoutMs, approvers: ["*"], strict: false };
    return { ...made, work: "approval", action: "approval", approval, foreach: null, effect: "idempotent" };
  }
  if (random.chance(0.3)) {
    const { action, timeoutMs, retry, effect } = plainStep(random, id);
    made.undo = { action, with: {}, timeoutMs, retry, effect };
  }
  if (random.chance(0.1)) {
    made.breaker = { destination: "https://far.example/${{ params.k }}", failures: 2, delayMs: 20_000 };
  }
  return made;
}

function plainStep(random: Seeded, id: string): StepDefinition {
  return step(id, {
    action: "work",
    with: { v: "${{ params.v }}" },
    timeoutMs: random.pick([1_000, 10_000, 30_000]),
    deadlineMs: random.chance(0.15) ? random.pick([2_000, 40_000]) : null,
    retry: randomRetry(random),
    effect: random.pick(EFFECTS),
  });
}

function randomRetry(random: Seeded): RetryPolicy {
  const kind = random.pick(["fixed", "linear", "exponential"] as const);
  return { attempts: random.int(1, 3), kind, initialMs: random.pick([1, 500, 5_000]), maxMs: 20_000 };
}

function randomLock(random: Seeded): ExclusiveDefinition {
  return { lock: random.pick(LOCKS), busy: random.chance(0.25) ? "abort" : "queue" };
}
