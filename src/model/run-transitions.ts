import { backoffDelay } from "../core/backoff.ts";
import type { Json } from "./json.ts";
import type { PipelineDefinition, StepDefinition } from "./pipeline.ts";
import { type AttemptState, hasEnded, type RunState, type StepError, type StepRow } from "./run.ts";

/** Every change of state that a step may make; anything else is a bug. */
const STEP_TRANSITIONS: Record<RunState, readonly RunState[]> = {
  queued: ["running", "failed", "skipped", "cancelled"],
  waiting: ["queued", "skipped", "cancelled", "uncertain"],
  running: ["succeeded", "failed", "timed_out", "uncertain", "queued", "waiting", "cancelled"],
  succeeded: [],
  failed: [],
  timed_out: [],
  cancelled: [],
  skipped: [],
  uncertain: [],
  dead: [],
};

/** Every change of state that a run may make. */
const RUN_TRANSITIONS: Record<RunState, readonly RunState[]> = {
  ...STEP_TRANSITIONS,
  queued: ["running", "succeeded", "failed", "cancelled"],
  running: ["succeeded", "failed", "cancelled"],
  waiting: ["running", "failed", "cancelled"],
};

export function mayMoveStep(from: RunState, to: RunState): boolean {
  return STEP_TRANSITIONS[from].includes(to);
}

export function mayMoveRun(from: RunState, to: RunState): boolean {
  return RUN_TRANSITIONS[from].includes(to);
}

/** How an attempt ended, as the action or its worker told. `unknown`: no result came back. */
export type AttemptOutcome =
  { kind: "ok"; output: Json } | { kind: "error"; error: StepError } | { kind: "unknown"; error: StepError };

/** An idempotent step whose attempts keep ending unknown is given up after this many. */
export const MAX_UNKNOWN_ATTEMPTS = 10;

export interface StepDecision {
  state: RunState;
  attempt: AttemptState;
  /** Milliseconds to wait before the step may run again; only for `queued`. */
  delayMs: number;
  reason: string | null;
}

/**
 * What an attempt's outcome means for its step (DESIGN promise 2). Unknown: `idempotent` runs again, `at-most-once`
 * becomes `uncertain`, `ask` waits for a person. A told error is retried within the policy; for other effects than
 * `idempotent` only when the action vouches that it had not started.
 */
export function decideStep(
  definition: Pick<StepDefinition, "effect" | "retry">,
  step: Pick<StepRow, "attempts" | "unknowns">,
  outcome: AttemptOutcome,
  random: () => number,
): StepDecision {
  const end = (state: RunState, attempt: AttemptState, reason: string | null = null): StepDecision => ({
    state,
    attempt,
    delayMs: 0,
    reason,
  });
  const retry = (attempt: AttemptState, number: number): StepDecision => ({
    state: "queued",
    attempt,
    delayMs: Math.round(backoffDelay(definition.retry, number, random)),
    reason: null,
  });
  switch (outcome.kind) {
    case "ok":
      return end("succeeded", "succeeded");
    case "error": {
      const told = step.attempts - step.unknowns;
      const again = definition.effect === "idempotent" || !outcome.error.started;
      if (again && outcome.error.retryable && told < definition.retry.attempts) return retry("failed", told);
      return end("failed", "failed");
    }
    case "unknown": {
      const unknowns = step.unknowns + 1;
      if (definition.effect === "at-most-once") return end("uncertain", "unknown", outcome.error.message);
      if (definition.effect === "ask") {
        return end(
          "waiting",
          "unknown",
          `${outcome.error.message}; a person must say whether it may run again`,
        );
      }
      if (unknowns >= MAX_UNKNOWN_ATTEMPTS) {
        const state = outcome.error.code === "timed_out" ? "timed_out" : "uncertain";
        return end(
          state,
          "unknown",
          `${unknowns} attempts gave no result; the last: ${outcome.error.message}`,
        );
      }
      return retry("unknown", unknowns);
    }
  }
}

export interface RunAdvance {
  /** Steps whose needs are met: they become `queued`. */
  ready: string[];
  /** Steps that can no longer run: they become `skipped`, with the reason. */
  skipped: { stepId: string; reason: string }[];
  /** Steps of `on_failure` that come into being now. */
  onFailure: boolean;
  /** Set when the run is over. */
  end: { state: "succeeded" | "failed"; reason: string | null } | null;
}

/** What follows for a run from the states of its steps. Steps that become skipped may skip others: that is included. */
export function advanceRun(definition: PipelineDefinition, steps: readonly StepRow[]): RunAdvance {
  const states = new Map(steps.map((step) => [step.stepId, step.state]));
  const ready: string[] = [];
  const skipped: RunAdvance["skipped"] = [];
  const waitingFor = new Set(
    steps.filter((step) => step.state === "waiting" && step.attempts === 0).map((s) => s.stepId),
  );
  for (let changed = true; changed;) {
    changed = false;
    for (const step of definition.steps) {
      if (!waitingFor.has(step.id)) continue;
      const broken = step.needs.find(
        (need) => hasEnded(states.get(need)!) && states.get(need) !== "succeeded",
      );
      if (broken !== undefined) {
        skipped.push({ stepId: step.id, reason: `step ${broken} is ${states.get(broken)}` });
        states.set(step.id, "skipped");
      } else if (step.needs.every((need) => states.get(need) === "succeeded")) {
        ready.push(step.id);
        states.set(step.id, "queued");
      } else continue;
      waitingFor.delete(step.id);
      changed = true;
    }
  }
  for (const step of definition.onFailure) {
    if (waitingFor.has(step.id) && step.needs.every((need) => hasEnded(states.get(need) ?? "queued")))
      ready.push(step.id);
  }
  return { ready, skipped, ...finish(definition, steps, states, ready) };
}

function finish(
  definition: PipelineDefinition,
  steps: readonly StepRow[],
  states: Map<string, RunState>,
  ready: string[],
): Pick<RunAdvance, "onFailure" | "end"> {
  if (ready.length > 0 || [...states.values()].some((state) => !hasEnded(state)))
    return { onFailure: false, end: null };
  const bad = definition.steps.find((step) => !["succeeded", "skipped"].includes(states.get(step.id)!));
  if (bad === undefined) return { onFailure: false, end: { state: "succeeded", reason: null } };
  if (definition.onFailure.length > 0 && !steps.some((step) => step.part === "on_failure")) {
    return { onFailure: true, end: null };
  }
  return { onFailure: false, end: { state: "failed", reason: `step ${bad.id} is ${states.get(bad.id)}` } };
}
