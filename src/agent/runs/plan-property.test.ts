import { expect, test } from "bun:test";
import type { Effect, PipelineDefinition, StepDefinition } from "../../model/pipeline.ts";
import { definitionOf } from "../../model/run-step-definition.ts";
import { hasEnded, STEP_PARTS, type StepRow } from "../../model/run.ts";
import type { AttemptOutcome } from "../../model/run-transitions.ts";
import { pipeline, step, undo } from "../../testing/definitions.ts";
import { added, retry, RunRig } from "../../testing/run-rig.ts";
import { judge, type Story } from "../../testing/run-reference.ts";
import { Seeded } from "../../testing/seeded.ts";
import { planItems } from "./plan-lease.ts";
import { planSkip } from "./plan-outcome.ts";
import { planDecision, planTimeout } from "./plan-waits.ts";

const SEEDS = 1500;

function randomStep(dice: Seeded, id: string, before: string[]): StepDefinition {
  const foreach = dice.chance(0.2) ? { in: "params.list", concurrency: 1 + dice.int(0, 2) } : null;
  return step(id, {
    needs: before.filter(() => dice.chance(0.35)),
    when: dice.chance(0.15) ? "params.x" : null,
    foreach,
    undo: dice.chance(0.3) ? undo("unmake") : null,
    effect: dice.pick<Effect>(["idempotent", "at-most-once", "ask"]),
    retry: retry(1 + dice.int(0, 2)),
    deadlineMs: dice.chance(0.15) ? 250 : null,
  });
}

function randomPipeline(dice: Seeded): PipelineDefinition {
  const steps: StepDefinition[] = [];
  for (let n = dice.int(0, 7); n >= 0; n--) {
    const before = steps.map(({ id }) => id);
    // Not in the order of their needs: the definition may have any.
    steps.splice(dice.int(0, steps.length), 0, randomStep(dice, `s${n}`, before));
  }
  const some = (name: string) =>
    Array.from({ length: dice.int(0, 2) }, (_, index) => step(`${name}${index}`));
  return pipeline(steps, { finally: some("f"), onFailure: some("e") });
}

function randomOutcome(dice: Seeded): AttemptOutcome {
  if (dice.chance(0.75)) return { kind: "ok", output: dice.int(0, 9) };
  const retryable = dice.chance(0.7);
  const error = { code: "failed", message: "no", retryable, started: dice.chance(0.5) };
  return dice.chance(0.7) ? { kind: "error", error } : { kind: "unknown", error };
}

/** One run from its beginning to its end; every act is chosen by the dice, every change is judged by the reference. */
function play(seed: number): Story {
  const dice = new Seeded(seed);
  const rig = new RunRig(randomPipeline(dice));
  const story: Story = { rig, begun: [], succeeded: [], additions: [], stops: [] };
  const stopping = dice.chance(0.3) ? dice.int(0, 12) : Infinity;
  const aborted = new Set<string>();
  for (let turn = 0; !hasEnded(rig.live.run.state); turn++) {
    if (turn > 2000) throw new Error("the run does not end");
    if (turn >= stopping && story.stops.length < 2 && dice.chance(0.5)) stop(story, dice, aborted);
    else act(story, dice, aborted);
    judge(story);
  }
  return story;
}

function stop(story: Story, dice: Seeded, aborted: Set<string>): void {
  const { rig } = story;
  const state = dice.pick(["cancelled", "timed_out", "failed"] as const);
  const { abort, run } = rig.stop(state);
  for (const row of abort) aborted.add(row.stepId);
  if (run.stop?.state === state) story.stops.push(state);
}

function act(story: Story, dice: Seeded, aborted: Set<string>): void {
  const { rig } = story;
  const movable = [...rig.live.steps.values()].filter((row) => {
    if (row.state === "running") return rig.live.steps.get(`${row.stepId}[0]`) === undefined;
    return row.state === "queued" || row.waits === "decision";
  });
  if (movable.length === 0) throw new Error(`nothing can go on: ${JSON.stringify(rig.states())}`);
  const row = dice.pick(movable);
  const trustedMs = Math.max(rig.now.trustedMs + dice.int(0, 20), row.notBeforeMs);
  rig.now = { wallMs: rig.now.wallMs + dice.int(0, 100) - 50, trustedMs };
  if (row.state === "queued") begin(story, row, dice);
  else if (row.waits === "decision") {
    const answer = { approve: dice.chance(0.5), by: "local:0", note: "" };
    rig.apply(planDecision(rig.live, row, answer, rig.now));
  } else if (aborted.has(row.stepId) && dice.chance(0.8)) rig.cancelled(row.stepId);
  else if (row.part === "steps" && rig.live.run.stop === null && dice.chance(0.2)) add(story, row, dice);
  else finish(story, row, dice);
}

function begin(story: Story, row: StepRow, dice: Seeded): void {
  const { rig } = story;
  const definition = definitionOf(rig.live.definition, row);
  const own = row.extra?.foreach === undefined;
  if ((row.extra?.deadlineMs ?? Infinity) <= rig.now.trustedMs) {
    rig.apply(planTimeout(rig.live, row, rig.now));
  } else if (own && definition.when !== null && row.attempts === 0 && dice.chance(0.5)) {
    rig.apply(planSkip(rig.live, row, rig.now));
  } else if (own && definition.foreach !== null) {
    story.begun.push(row.stepId);
    rig.apply(planItems(rig.live, row, Array(dice.int(0, 4)).fill("x"), rig.now));
  } else {
    if (row.attempts === 0) story.begun.push(row.stepId);
    story.additions = story.additions.filter(({ by }) => by !== row.stepId);
    rig.lease(row.stepId);
  }
}

function finish(story: Story, row: StepRow, dice: Seeded): void {
  const { rig } = story;
  rig.end(row.stepId, randomOutcome(dice));
  if (rig.step(row.stepId).state === "succeeded") story.succeeded.push(row.stepId);
}

function add(story: Story, row: StepRow, dice: Seeded): void {
  if (story.additions.length > 6) return;
  const before = story.additions.filter(({ by }) => by === row.stepId).length;
  const kind = dice.pick(["add", "finally", "onFailure"] as const);
  story.additions.push({ by: row.stepId, kind, id: `${row.stepId}+${before + 1}` });
  story.rig.add(row.stepId, added(kind, "more"));
}

test(`${SEEDS} random runs go as the reference says`, () => {
  const ends: Record<string, number> = {};
  const parts = new Set<string>();
  for (let seed = 1; seed <= SEEDS; seed++) {
    try {
      const { rig } = play(seed);
      ends[rig.live.run.state] = (ends[rig.live.run.state] ?? 0) + 1;
      for (const row of rig.live.steps.values()) {
        if (row.attempts > 0) parts.add(row.part);
        if (row.extra?.addedBy && row.attempts > 0) parts.add(`added to ${row.part}`);
      }
    } catch (error) {
      throw new Error(`seed ${seed}: ${(error as Error).message}`, { cause: error });
    }
  }
  // The dice have been everywhere.
  for (const state of ["succeeded", "failed", "cancelled", "timed_out"]) {
    expect(ends[state] ?? 0).toBeGreaterThan(SEEDS / 100);
  }
  for (const part of STEP_PARTS) expect(parts).toContain(part);
  for (const part of ["steps", "finally", "on_failure"]) expect(parts).toContain(`added to ${part}`);
}, 60_000);
