import { backoffDelay } from "../core/backoff.ts";
import type { AttemptFacts } from "./attempt-facts.ts";
import type { Json } from "./json.ts";
import type { StepDefinition } from "./pipeline.ts";
import type { AttemptState, RunState, StepError, StepRow, StepWait } from "./run.ts";

/** Where a step stands: its state, and while it waits what for. */
export type StepPlace = Exclude<RunState, "waiting"> | `waiting:${StepWait}`;

/** Every change of place that a step may make; anything else is a bug. */
const STEP_TRANSITIONS: Record<StepPlace, readonly StepPlace[]> = {
  // To itself: a refused call (an open circuit) counts as an attempt. Succeeded: a `foreach` over nothing.
  queued: [
    "queued",
    "running",
    "waiting:approval",
    "waiting:lock",
    "succeeded",
    "failed",
    "dead",
    "timed_out",
    "skipped",
    "cancelled",
  ],
  "waiting:needs": ["queued", "skipped"],
  "waiting:approval": ["succeeded", "failed", "timed_out", "cancelled"],
  "waiting:decision": ["queued", "uncertain"],
  "waiting:lock": ["queued", "skipped", "timed_out", "cancelled"],
  running: [
    "succeeded",
    "failed",
    "dead",
    "timed_out",
    "uncertain",
    "cancelled",
    "queued",
    "waiting:decision",
  ],
  succeeded: [],
  failed: [],
  dead: [],
  timed_out: [],
  uncertain: [],
  cancelled: [],
  skipped: [],
};

/** Every change of state that a run may make. `waiting`: for the lock of its pipeline. */
const RUN_TRANSITIONS: Record<RunState, readonly RunState[]> = {
  // Succeeded and failed: the first thing that happened to its steps was also the last.
  queued: ["waiting", "running", "succeeded", "failed", "timed_out", "cancelled", "skipped"],
  waiting: ["queued", "failed", "timed_out", "cancelled", "skipped"],
  running: ["succeeded", "failed", "timed_out", "cancelled"],
  succeeded: [],
  failed: [],
  timed_out: [],
  cancelled: [],
  skipped: [],
  uncertain: [],
  dead: [],
};

export const STEP_PLACES = Object.keys(STEP_TRANSITIONS) as StepPlace[];

export function mayMoveStep(from: StepPlace, to: StepPlace): boolean {
  return STEP_TRANSITIONS[from].includes(to);
}

export function mayMoveRun(from: RunState, to: RunState): boolean {
  return RUN_TRANSITIONS[from].includes(to);
}

export function stepPlace({ state, waits }: Pick<StepRow, "state" | "waits">): StepPlace {
  return state === "waiting" ? `waiting:${waits ?? "needs"}` : state;
}

/** How an attempt ended, as the action or its worker told. `unknown`: no result came back. */
export type AttemptOutcome = (
  { kind: "ok"; output: Json } | { kind: "error"; error: StepError } | { kind: "unknown"; error: StepError }
) & { facts?: AttemptFacts };

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
      if (!again || !outcome.error.retryable) return end("failed", "failed");
      if (told < definition.retry.attempts) return retry("failed", told);
      return end(definition.retry.attempts > 1 ? "dead" : "failed", "failed");
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
