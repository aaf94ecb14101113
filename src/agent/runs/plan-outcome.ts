import type { AttemptFacts } from "../../model/attempt-facts.ts";
import { advanceRun } from "../../model/run-advance.ts";
import type { RunDraft, StepFields } from "../../model/run-draft.ts";
import { stoppedState } from "../../model/run-foreach.ts";
import { undoOrder } from "../../model/run-parts.ts";
import { type AttemptOutcome, decideStep, type StepDecision } from "../../model/run-transitions.ts";
import type { AttemptRow, AttemptState, StepError, StepExtra, StepRow } from "../../model/run.ts";
import { attemptRow, draftOf, type PlannedChange, planOf, type Times } from "./plan.ts";
import type { LiveRun } from "./ports.ts";

const MAX_KEPT_ERRORS = 100;

/** What an outcome does to its step, to the steps that wait for it, and to the run. */
export function planOutcome(
  live: LiveRun,
  leased: StepRow,
  outcome: AttemptOutcome,
  now: Times,
  random: () => number,
): PlannedChange {
  const draft = draftOf(live);
  const step = underLease(draft, leased);
  if (step === null) return refusedPlan(draft, leased, now);
  const { facts } = outcome;
  if (outcome.kind === "unknown" && isCutShort(draft, step)) return planCancelled(live, leased, now, facts);
  const definition = draft.definitionOf(step);
  const decision = decideStep(definition, step, outcome, random);
  const error = outcome.kind === "ok" ? null : outcome.error;
  const unknowns = outcome.kind === "unknown" ? step.unknowns + 1 : step.unknowns;
  const fields: StepFields = { unknowns, error, reason: decision.reason };
  if (outcome.kind === "ok") {
    fields.output = outcome.output;
    const order = undoOrder(draft, step);
    if (order !== undefined) fields.extra = { order };
  }
  settle(draft, step, decision, fields, now);
  advanceRun(draft, now);
  const attempt = endedAttempt(draft, step, decision.attempt, error, now);
  return planOf(draft, [leased], now, attempt ? { attempt: withFacts(attempt, facts) } : {});
}

/**
 * A queued step that cannot be started. A retryable error (an open circuit) counts as an attempt that did not start; any
 * other ends the step.
 */
export function planUnstarted(
  live: LiveRun,
  step: StepRow,
  error: StepError,
  now: Times,
  random: () => number = () => 0.5,
): PlannedChange {
  const draft = draftOf(live);
  draft.begin(now);
  if (!error.retryable) {
    draft.move(step, "failed", { endedMs: now.wallMs, error, reason: null });
    advanceRun(draft, now);
    return planOf(draft, [step], now);
  }
  const tried = { ...step, attempts: step.attempts + 1, fence: step.fence + 1, startedMs: now.wallMs };
  const told: AttemptOutcome = { kind: "error", error: { ...error, started: false } };
  const decision = decideStep(draft.definitionOf(step), tried, told, random);
  const fields: StepFields = {
    attempts: tried.attempts,
    fence: tried.fence,
    startedMs: tried.startedMs,
    error: told.error,
    reason: null,
  };
  settle(draft, step, decision, fields, now, tried.attempts);
  advanceRun(draft, now);
  const attempt = { ...attemptRow(tried, now.wallMs), state: "failed" as const, endedMs: now.wallMs };
  return planOf(draft, [step], now, { attempt: { ...attempt, error: told.error } });
}

/** Its own condition is false: it is left out, and what needs it goes on. */
export function planSkip(live: LiveRun, step: StepRow, now: Times): PlannedChange {
  const draft = draftOf(live);
  draft.begin(now);
  const reason = "its condition is false";
  draft.move(step, "skipped", { endedMs: now.wallMs, reason, extra: { skip: "when" } });
  advanceRun(draft, now);
  return planOf(draft, [step], now);
}

/**
 * An aborted attempt (or child run) has ended without a result that counts. `cancelled`, or `timed_out` where the run's
 * or the step's own deadline was the reason.
 */
export function planCancelled(
  live: LiveRun,
  leased: StepRow,
  now: Times,
  facts?: AttemptFacts,
): PlannedChange {
  const draft = draftOf(live);
  const step = underLease(draft, leased);
  if (step === null) return refusedPlan(draft, leased, now);
  const { stop } = draft.run;
  const late = (step.extra?.deadlineMs ?? Infinity) <= now.trustedMs;
  const state = stop !== null && !late ? stoppedState(stop) : late ? "timed_out" : "cancelled";
  const why = late ? "its deadline passed" : (stop?.reason ?? "it was cancelled");
  const error: StepError = { code: state, message: why, retryable: false, started: true };
  const extra: StepExtra = stop !== null && !late ? { skip: "stop" } : {};
  draft.move(step, state, { endedMs: now.wallMs, error, reason: why, extra });
  advanceRun(draft, now);
  const attempt = endedAttempt(draft, step, "unknown", error, now);
  return planOf(draft, [leased], now, attempt ? { attempt: withFacts(attempt, facts) } : {});
}

/** The row under this lease with what was noted on it since; null when somebody else has moved on. */
function underLease(draft: RunDraft, leased: StepRow): StepRow | null {
  const row = draft.step(leased.stepId);
  return row?.state === "running" && row.fence === leased.fence ? row : null;
}

/** A result under an old lease: the store finds that the guard does not hold, and nothing changes. */
function refusedPlan(draft: RunDraft, leased: StepRow, now: Times): PlannedChange {
  const { changed } = draft;
  changed.set(leased.stepId, { ...leased, state: "uncertain", reason: "a result under an old lease" });
  return planOf(draft, [leased], now);
}

/** A stop binds the steps; what runs at the end of a stopped run goes by its own outcome. */
function isCutShort(draft: RunDraft, step: StepRow): boolean {
  return draft.run.stop !== null && step.part === "steps";
}

function settle(
  draft: RunDraft,
  step: StepRow,
  decision: StepDecision,
  fields: StepFields,
  now: Times,
  attempts = step.attempts,
): void {
  const { state } = decision;
  if (state === "waiting") {
    draft.wait(step, "decision", { ...fields, extra: withError(step, attempts, fields.error, now) });
  } else if (state === "queued") goOn(draft, step, decision.delayMs, fields, attempts, now);
  else draft.move(step, state, { ...fields, endedMs: now.wallMs });
}

/** Another attempt, unless the run is being stopped or the step's time is over before it could begin. */
function goOn(
  draft: RunDraft,
  step: StepRow,
  delayMs: number,
  fields: StepFields,
  attempts: number,
  now: Times,
): void {
  const notBeforeMs = now.trustedMs + delayMs;
  if (isCutShort(draft, step)) {
    const { reason } = draft.run.stop!;
    const state = stoppedState(draft.run.stop!);
    draft.move(step, state, { ...fields, endedMs: now.wallMs, reason, extra: { skip: "stop" } });
  } else if ((step.extra?.deadlineMs ?? Infinity) <= notBeforeMs) {
    const reason = "its deadline passes before it could be tried again";
    draft.move(step, "timed_out", { ...fields, endedMs: now.wallMs, reason });
  } else {
    const extra = withError(step, attempts, fields.error, now);
    draft.move(step, "queued", { ...fields, notBeforeMs, endedMs: null, extra });
  }
}

function withError(
  step: StepRow,
  attempt: number,
  error: StepError | null | undefined,
  now: Times,
): StepExtra {
  if (!error) return {};
  const errors = [...(step.extra?.errors ?? []), { attempt, atMs: now.wallMs, error }];
  return { errors: errors.slice(-MAX_KEPT_ERRORS) };
}

/** Null for a step that has a lease but no attempt: one that is a run of its own, or a `foreach`. */
function endedAttempt(
  draft: RunDraft,
  step: StepRow,
  state: AttemptState,
  error: StepError | null,
  now: Times,
): AttemptRow | null {
  const { work, foreach } = draft.definitionOf(step);
  if (work !== "action" || (foreach !== null && step.extra?.foreach === undefined)) return null;
  return { ...attemptRow(step, step.startedMs ?? now.wallMs), state, endedMs: now.wallMs, error };
}

function withFacts(attempt: AttemptRow, facts: AttemptFacts | undefined): AttemptRow {
  return facts === undefined ? attempt : { ...attempt, facts };
}
