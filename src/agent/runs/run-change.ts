import type { Json } from "../../model/json.ts";
import type { StepDefinition } from "../../model/pipeline.ts";
import { newStepRows, runRecord, stepRecord } from "../../model/run-build.ts";
import type { AttemptRow, StepRow } from "../../model/run.ts";
import {
  advanceRun,
  type AttemptOutcome,
  decideStep,
  mayMoveRun,
  mayMoveStep,
} from "../../model/run-transitions.ts";
import type { LiveRun, RunChange } from "./ports.ts";

export interface Times {
  wallMs: number;
  trustedMs: number;
}

/** A change together with the rows as they stand once it is committed. */
export interface PlannedChange {
  change: RunChange;
  run: LiveRun["run"];
  steps: StepRow[];
  /** Steps to start now or when their time has come. */
  queued: StepRow[];
}

export function stepDefinition(live: LiveRun, stepId: string): StepDefinition {
  const { steps, onFailure } = live.definition;
  const found = steps.find((step) => step.id === stepId) ?? onFailure.find((step) => step.id === stepId);
  if (!found) throw new Error(`pipeline ${live.definition.name} has no step ${stepId}`);
  return found;
}

/** The lease: durable before the worker is told. The fence it raises is what the result must show. */
export function planLease(live: LiveRun, step: StepRow, now: Times): PlannedChange {
  const begins = live.run.state === "queued";
  const run = begins ? { ...live.run, state: "running" as const, startedMs: now.wallMs } : live.run;
  const leased = move(step, "running");
  leased.fence = step.fence + 1;
  leased.attempts = step.attempts + 1;
  leased.startedMs = now.wallMs;
  leased.endedMs = null;
  const records = [stepRecord(leased, stepDefinition(live, step.stepId).action)];
  if (begins) records.unshift(runRecord(run, live.definition));
  return {
    run,
    steps: [leased],
    queued: [],
    change: {
      runId: live.run.id,
      guards: [guard(step)],
      steps: [leased],
      attempt: attemptRow(leased, now.wallMs),
      ...(begins ? { run: { state: run.state, startedMs: run.startedMs } } : {}),
      records,
    },
  };
}

/** What an outcome does to its step, to the steps that wait for it, and to the run. */
export function planOutcome(
  live: LiveRun,
  step: StepRow,
  outcome: AttemptOutcome,
  now: Times,
  random: () => number,
): PlannedChange {
  const definition = stepDefinition(live, step.stepId);
  const decision = decideStep(definition, step, outcome, random);
  const next = move(step, decision.state);
  next.endedMs = decision.state === "queued" || decision.state === "waiting" ? null : now.wallMs;
  next.notBeforeMs = decision.state === "queued" ? now.trustedMs + decision.delayMs : 0;
  next.reason = decision.reason;
  next.output = outcome.kind === "ok" ? outcome.output : null;
  next.error = outcome.kind === "ok" ? null : outcome.error;
  if (outcome.kind === "unknown") next.unknowns = step.unknowns + 1;
  const attempt = attemptRow(step, step.startedMs ?? now.wallMs);
  attempt.state = decision.attempt;
  attempt.endedMs = now.wallMs;
  attempt.error = next.error;
  return follow(live, step, next, now, attempt);
}

/** A step that ends without an attempt: its input could not be made. */
export function planUnstarted(live: LiveRun, step: StepRow, message: string, now: Times): PlannedChange {
  const next = move(step, "failed");
  next.endedMs = now.wallMs;
  next.error = { code: "input", message, retryable: false, started: false };
  return follow(live, step, next, now);
}

/** What a person says of a step whose outcome is unknown: run it again, or leave it uncertain. */
export function planDecision(
  live: LiveRun,
  step: StepRow,
  again: boolean,
  by: string,
  now: Times,
): PlannedChange {
  const next = move(step, again ? "queued" : "uncertain");
  next.endedMs = again ? null : now.wallMs;
  next.reason = again
    ? `approved by ${by}`
    : `denied by ${by}; ${step.error?.message ?? "the outcome is unknown"}`;
  return follow(live, step, next, now);
}

function follow(
  live: LiveRun,
  before: StepRow,
  next: StepRow,
  now: Times,
  attempt?: AttemptRow,
): PlannedChange {
  const after = new Map(live.steps);
  after.set(next.stepId, next);
  const advance = advanceRun(live.definition, [...after.values()]);
  const changed = [next];
  for (const stepId of advance.ready) changed.push(move(after.get(stepId)!, "queued"));
  for (const { stepId, reason } of advance.skipped) {
    changed.push({ ...move(after.get(stepId)!, "skipped"), reason, endedMs: now.wallMs });
  }
  const newSteps = advance.onFailure
    ? newStepRows(live.run.id, "on_failure", live.definition.onFailure, live.definition.steps.length)
    : [];
  let run = live.run;
  if (advance.end) {
    if (!mayMoveRun(run.state, advance.end.state))
      throw new Error(`run ${run.id}: ${run.state} → ${advance.end.state}`);
    run = { ...run, state: advance.end.state, reason: advance.end.reason, endedMs: now.wallMs };
  }
  const told = changed.filter((step) => step.state !== "queued" || step === next);
  const records = told.map((step) => stepRecord(step, stepDefinition(live, step.stepId).action));
  if (advance.end) records.push(runRecord(run, live.definition));
  return {
    run,
    steps: [...changed, ...newSteps],
    queued: [...changed, ...newSteps].filter((step) => step.state === "queued"),
    change: {
      runId: run.id,
      guards: [guard(before)],
      steps: changed,
      ...(newSteps.length > 0 ? { newSteps } : {}),
      ...(attempt ? { attempt } : {}),
      ...(advance.end ? { run: { state: run.state, reason: run.reason, endedMs: run.endedMs } } : {}),
      records,
    },
  };
}

function move(step: StepRow, to: StepRow["state"]): StepRow {
  if (!mayMoveStep(step.state, to))
    throw new Error(`step ${step.runId}/${step.stepId}: ${step.state} → ${to}`);
  return { ...step, state: to };
}

function guard(step: StepRow): RunChange["guards"][number] {
  return { stepId: step.stepId, fence: step.fence, state: step.state };
}

function attemptRow(step: StepRow, startedMs: number): AttemptRow {
  return {
    runId: step.runId,
    stepId: step.stepId,
    number: step.attempts,
    fence: step.fence,
    state: "running",
    startedMs,
    endedMs: null,
    error: null,
  };
}

/** Keeps a step's output within `maxBytes` of JSON; what is cut says so. */
export function boundOutput(output: Json, maxBytes: number): Json {
  const text = JSON.stringify(output ?? null);
  if (text.length <= maxBytes) return output ?? null;
  return { truncated: true, bytes: text.length, head: text.slice(0, Math.min(4096, maxBytes)) };
}
