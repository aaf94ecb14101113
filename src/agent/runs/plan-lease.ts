import type { Json } from "../../model/json.ts";
import type { NewRun } from "../../model/run-build.ts";
import type { RunDraft } from "../../model/run-draft.ts";
import { advanceRun } from "../../model/run-advance.ts";
import { createItems, MAX_ITEMS } from "../../model/run-foreach.ts";
import type { StepExtra, StepRow } from "../../model/run.ts";
import { planUnstarted } from "./plan-outcome.ts";
import { attemptRow, draftOf, type PlannedChange, planOf, type Times } from "./plan.ts";
import type { LiveRun } from "./ports.ts";

/**
 * The lease: durable before the worker is told. The fence it raises is what the result must show. With `child` the step
 * is a run of its own: it has a lease but no attempt.
 */
export function planLease(
  live: LiveRun,
  step: StepRow,
  now: Times,
  options: { child?: NewRun } = {},
): PlannedChange {
  const { child } = options;
  const draft = draftOf(live);
  draft.begin(now);
  const extra = leaseExtra(draft, step, now);
  if (child) extra.child = child.run.id;
  if (takeBackAdditions(draft, step)) extra.added = 0;
  const leased = draft.move(step, "running", {
    fence: step.fence + 1,
    attempts: child ? step.attempts : step.attempts + 1,
    startedMs: now.wallMs,
    notBeforeMs: 0,
    error: null,
    reason: null,
    ...(hasKeys(extra) ? { extra } : {}),
  });
  if (child) return planOf(draft, [step], now, { newRuns: [child] });
  return planOf(draft, [step], now, { attempt: attemptRow(leased, now.wallMs) });
}

/** A `foreach` begins: its step is `running` without an attempt, and its first items are queued. */
export function planItems(live: LiveRun, step: StepRow, items: Json[], now: Times): PlannedChange {
  if (items.length > MAX_ITEMS) {
    const message = `foreach has ${items.length} items, at most ${MAX_ITEMS} are allowed`;
    return planUnstarted(live, step, { code: "input", message, retryable: false, started: false }, now);
  }
  const draft = draftOf(live);
  draft.begin(now);
  if (items.length === 0) {
    draft.move(step, "succeeded", { startedMs: now.wallMs, endedMs: now.wallMs, output: [], reason: null });
    advanceRun(draft, now);
    return planOf(draft, [step], now);
  }
  const extra = leaseExtra(draft, step, now);
  const leased = draft.move(step, "running", {
    fence: step.fence + 1,
    startedMs: now.wallMs,
    notBeforeMs: 0,
    reason: null,
    ...(hasKeys(extra) ? { extra } : {}),
  });
  createItems(draft, leased, items, draft.definitionOf(step).foreach?.concurrency ?? 1);
  return planOf(draft, [step], now);
}

/** The time for all attempts runs from the first lease. */
function leaseExtra(draft: RunDraft, step: StepRow, now: Times): StepExtra {
  const { deadlineMs } = draft.definitionOf(step);
  if (deadlineMs === null || step.extra?.deadlineMs !== undefined) return {};
  return { deadlineMs: now.trustedMs + deadlineMs };
}

/** What an earlier attempt asked for is asked for again, or not, by the next one. None of it has begun. */
function takeBackAdditions(draft: RunDraft, step: StepRow): boolean {
  if (!step.extra?.added) return false;
  for (const row of draft.rows()) if (row.extra?.addedBy?.step === step.stepId) draft.remove(row.stepId);
  return true;
}

function hasKeys(extra: StepExtra): boolean {
  for (const _ in extra) return true;
  return false;
}
