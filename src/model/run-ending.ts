import {
  type DeadLetter,
  hasEnded,
  type RunState,
  type RunStop,
  type StepPart,
  type StepRow,
} from "./run.ts";
import type { RunDraft, Times } from "./run-draft.ts";

const MAX_LETTER_ERRORS = 100;

/**
 * The step that made a part go wrong: the first in the order of the definition. Of an item its `foreach` tells; what was
 * cut short because the run was stopped made nothing go wrong.
 */
export function failureOf(run: { rows(): Iterable<StepRow> }, part: StepPart): StepRow | null {
  let found: StepRow | null = null;
  for (const row of run.rows()) {
    if (row.part !== part || row.extra?.foreach || row.extra?.skip === "stop" || !isBad(row.state)) continue;
    if (found === null || row.position < found.position) found = row;
  }
  return found;
}

function isBad(state: RunState): boolean {
  return hasEnded(state) && state !== "succeeded" && state !== "skipped";
}

/** Every step has ended, or never will begin: how the run ended. What went wrong first is what its reason tells. */
export function endRun(draft: RunDraft, now: Times): void {
  const { state, reason } = verdict(draft);
  for (const row of draft.rows()) {
    if (hasEnded(row.state)) continue;
    const skip = draft.run.stop === null ? ("need" as const) : ("stop" as const);
    const why = draft.run.stop?.reason ?? "the run did not fail";
    draft.move(row, "skipped", { endedMs: now.wallMs, reason: why, extra: { skip } });
  }
  draft.moveRun(state, { reason, endedMs: now.wallMs });
}

function verdict(draft: RunDraft): { state: RunStop["state"] | "succeeded"; reason: string | null } {
  const { stop } = draft.run;
  const failed = failureOf(draft, "steps");
  const told = failed === null ? null : describe(failed);
  if (stop !== null && told !== null) {
    return { state: stop.state, reason: `${stop.reason}; before that: ${told}` };
  }
  if (stop !== null) return { state: stop.state, reason: stop.reason };
  if (told !== null) return { state: "failed", reason: told };
  const last = failureOf(draft, "finally");
  if (last !== null) return { state: "failed", reason: `in finally: ${describe(last)}` };
  return { state: "succeeded", reason: null };
}

function describe(step: StepRow): string {
  const why = step.error?.message ?? step.reason;
  return `step ${step.stepId} is ${step.state}${why === null || why === "" ? "" : `: ${why}`}`;
}

/** What is set aside of a run that ended badly; null when nothing is. Of a child run its parent tells. */
export function deadLetter(draft: RunDraft, now: Times): DeadLetter | null {
  const { run } = draft;
  if ((run.state !== "failed" && run.state !== "timed_out") || run.starter.kind === "parent") return null;
  const errors: DeadLetter["errors"] = [];
  for (const row of draft.rows()) {
    for (const earlier of row.extra?.errors ?? []) errors.push({ step: row.stepId, ...earlier });
    if (row.error === null) continue;
    const atMs = row.endedMs ?? now.wallMs;
    errors.push({ step: row.stepId, attempt: row.attempts, atMs, error: row.error });
  }
  return {
    runId: run.id,
    pipeline: run.pipeline,
    rule: run.rule,
    params: run.params,
    state: run.state,
    reason: run.reason ?? run.state,
    errors: errors.sort((a, b) => a.atMs - b.atMs).slice(-MAX_LETTER_ERRORS),
    createdMs: now.wallMs,
  };
}
