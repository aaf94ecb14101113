import type { AttemptFacts } from "../../model/attempt-facts.ts";
import { HoldfastError } from "../../core/errors.ts";
import { advanceRun } from "../../model/run-advance.ts";
import type { RunDraft } from "../../model/run-draft.ts";
import { skipRest, advanceForeach } from "../../model/run-foreach.ts";
import type { StepRow } from "../../model/run.ts";
import { planCancelled } from "./plan-outcome.ts";
import { draftOf, type PlannedChange, planOf, type Times } from "./plan.ts";
import type { LiveRun } from "./ports.ts";

/** Of a step: what people said of its unknown attempts. */
const MAX_DECISIONS = 20;

/** An approval step asks. `deadlineMs`: trusted time. */
export function planAsk(
  live: LiveRun,
  step: StepRow,
  approval: { text: string; approvers: string[]; strict: boolean; deadlineMs: number },
  now: Times,
): PlannedChange {
  const { deadlineMs, text, approvers, strict } = approval;
  const draft = draftOf(live);
  draft.begin(now);
  draft.wait(step, "approval", {
    startedMs: now.wallMs,
    reason: text,
    extra: { approval: { text, approvers, strict }, deadlineMs },
  });
  return planOf(draft, [step], now);
}

/** A person's word on an approval, or on a step whose outcome is unknown (approve: run it again). */
export function planDecision(
  live: LiveRun,
  step: StepRow,
  answer: { approve: boolean; by: string; note: string },
  now: Times,
): PlannedChange {
  const draft = draftOf(live);
  if (step.waits === "approval") answerApproval(draft, step, answer, now);
  else if (step.waits === "decision") decideUnknown(draft, step, answer, now);
  else {
    const where = `step ${step.stepId} of run ${step.runId} is ${step.state}`;
    throw new HoldfastError("conflict", `${where}: it does not ask for a decision`);
  }
  advanceRun(draft, now);
  return planOf(draft, [step], now);
}

function answerApproval(
  draft: RunDraft,
  step: StepRow,
  { approve, by, note }: { approve: boolean; by: string; note: string },
  now: Times,
): void {
  const asked = step.extra?.approval ?? { text: step.reason ?? "", approvers: [], strict: true };
  const extra = { approval: { ...asked, by, note } };
  const said = note === "" ? "" : `: ${note}`;
  if (approve) {
    const reason = `approved by ${by}${said}`;
    draft.move(step, "succeeded", { endedMs: now.wallMs, output: { by, note }, reason, extra });
    return;
  }
  const message = `denied by ${by}${said}`;
  const error = { code: "denied", message, retryable: false, started: false };
  draft.move(step, "failed", { endedMs: now.wallMs, error, reason: message, extra });
}

function decideUnknown(
  draft: RunDraft,
  step: StepRow,
  { approve, by, note }: { approve: boolean; by: string; note: string },
  now: Times,
): void {
  const said = note === "" ? "" : ` (${note})`;
  const word = { by, approve, note, atMs: now.wallMs };
  const extra = { decisions: [...(step.extra?.decisions ?? []), word].slice(-MAX_DECISIONS) };
  if (approve) draft.move(step, "queued", { notBeforeMs: 0, reason: `approved by ${by}${said}`, extra });
  else {
    const reason = `denied by ${by}${said}; ${step.error?.message ?? "the outcome is unknown"}`;
    draft.move(step, "uncertain", { endedMs: now.wallMs, reason, extra });
  }
}

/**
 * An approval was not answered in time, or a step's own deadline has passed. Of a running attempt: to be called when
 * nothing of it runs any more. Of a running `foreach`: its items in `abort` are to be stopped, and their end is its end.
 */
export function planTimeout(live: LiveRun, step: StepRow, now: Times, facts?: AttemptFacts): PlannedChange {
  if (step.state === "running" && live.steps.get(`${step.stepId}[0]`) === undefined) {
    return planCancelled(live, step, now, facts);
  }
  const draft = draftOf(live);
  const abort: StepRow[] = [];
  if (step.state === "running") {
    skipRest(draft, step.stepId, "the deadline of its step passed", now);
    for (const row of draft.rows()) {
      if (row.extra?.foreach?.step === step.stepId && row.state === "running") abort.push(row);
    }
    advanceForeach(draft, step.stepId, now);
  } else expire(draft, step, now);
  advanceRun(draft, now);
  return planOf(draft, [step], now, { abort });
}

function expire(draft: RunDraft, step: StepRow, now: Times): void {
  if (step.waits === "decision") {
    const reason = `nobody said what had become of it in time; ${step.error?.message ?? "the outcome is unknown"}`;
    draft.move(step, "uncertain", { endedMs: now.wallMs, reason });
    return;
  }
  const message = step.waits === "approval" ? "nobody answered in time" : "its deadline passed";
  const error = { code: "timed_out", message, retryable: false, started: false };
  draft.move(step, "timed_out", { endedMs: now.wallMs, error: step.error ?? error, reason: message });
}

/**
 * The run takes its place in the queue of a lock; a null step is the pipeline's own. It waits, unless `held` says that
 * the lock is free or the run's already.
 */
export function planLock(
  live: LiveRun,
  step: StepRow | null,
  lock: string,
  now: Times,
  held = false,
): PlannedChange {
  const draft = draftOf(live);
  const reason = `waits for lock ${lock}`;
  if (!held && step === null) draft.moveRun("waiting", { reason });
  if (!held && step !== null) draft.wait(step, "lock", { reason });
  const place = { namespace: draft.definition.namespace, lock };
  const planned = planOf(draft, step === null ? [] : [step], now, { lock: place });
  return held && step !== null ? { ...planned, queued: [step] } : planned;
}

/** What waited for a lock has it now. */
export function planUnlocked(live: LiveRun, step: StepRow | null, now: Times): PlannedChange {
  const draft = draftOf(live);
  if (step !== null) {
    draft.move(step, "queued", { reason: null });
    return planOf(draft, [step], now);
  }
  draft.moveRun("queued", { reason: null });
  const queued = [...live.steps.values()].filter((row) => row.state === "queued");
  return { ...planOf(draft, [], now), queued };
}
