import type { Json } from "./json.ts";
import { hasEnded, type RunStop, type StepError, type StepRow } from "./run.ts";
import type { RunDraft, Times } from "./run-draft.ts";

export const MAX_ITEMS = 1000;
/** Characters of JSON that the list of a `foreach` step's outputs may have; each output has its own limit. */
export const MAX_LIST_OUTPUT = 1_000_000;

export function itemId(step: string, index: number): string {
  return `${step}[${index}]`;
}

/** Items that may be under way at once begin, the others wait; the step's own row is `running` meanwhile. */
export function createItems(draft: RunDraft, step: StepRow, items: Json[], concurrency: number): void {
  for (const [index, value] of items.entries()) {
    const waits = index < concurrency ? null : ("needs" as const);
    const { deadlineMs } = step.extra ?? {};
    draft.create({
      ...step,
      stepId: itemId(step.stepId, index),
      state: waits === null ? "queued" : "waiting",
      waits,
      attempts: 0,
      fence: 0,
      startedMs: null,
      extra: {
        foreach: { step: step.stepId, index, value },
        ...(deadlineMs === undefined ? {} : { deadlineMs }),
      },
    });
  }
}

function itemsOf(draft: RunDraft, step: string): StepRow[] {
  return draft.rows().filter((row) => row.part !== "undo" && row.extra?.foreach?.step === step);
}

function indexOf(item: StepRow): number {
  return item.extra!.foreach!.index;
}

/** The first of two by index; null is none. */
function firstOf(one: StepRow | null, other: StepRow): StepRow {
  return one === null || indexOf(other) < indexOf(one) ? other : one;
}

/** What follows for a `foreach` from its items: another one begins, or none any more, or the step is done. */
export function advanceForeach(draft: RunDraft, stepId: string, now: Times): void {
  const step = draft.step(stepId);
  if (step?.state !== "running") return;
  let bad: StepRow | null = null;
  let next: StepRow | null = null;
  let open = 0;
  for (const item of itemsOf(draft, stepId)) {
    if (!hasEnded(item.state)) open++;
    else if (isBad(item)) bad = firstOf(bad, item);
    if (item.waits === "needs") next = firstOf(next, item);
  }
  if (bad !== null) open -= skipRest(draft, stepId, `item ${indexOf(bad)} is ${bad.state}`, now);
  else if (next !== null && ended(draft, stepId)) draft.move(next, "queued");
  if (open === 0) endForeach(draft, step, bad, now);
}

/** An item that has not begun does not begin any more. Returns how many those were. */
export function skipRest(
  draft: RunDraft,
  stepId: string,
  reason: string,
  now: Times,
  skip: "need" | "stop" = "need",
): number {
  let skipped = 0;
  for (const item of itemsOf(draft, stepId)) {
    if (hasEnded(item.state) || item.state === "running" || item.attempts > 0) continue;
    // Somebody was asked: that is under way as well.
    if (item.waits === "approval") continue;
    draft.move(item, "skipped", { endedMs: now.wallMs, reason, extra: { skip } });
    skipped++;
  }
  return skipped;
}

function ended(draft: RunDraft, stepId: string): boolean {
  for (const row of draft.changed.values()) {
    if (row.extra?.foreach?.step === stepId && hasEnded(row.state)) return true;
  }
  return false;
}

function isBad(item: StepRow): boolean {
  return item.state !== "succeeded" && item.state !== "skipped";
}

function endForeach(draft: RunDraft, step: StepRow, bad: StepRow | null, now: Times): void {
  if (bad !== null) {
    const at = indexOf(bad);
    const state = bad.state as "failed" | "dead" | "timed_out" | "uncertain" | "cancelled";
    draft.move(step, state, {
      endedMs: now.wallMs,
      error: bad.error === null ? null : { ...bad.error, message: `item ${at}: ${bad.error.message}` },
      reason: bad.reason === null ? null : `item ${at}: ${bad.reason}`,
    });
    return;
  }
  const items = itemsOf(draft, step.stepId).sort((a, b) => indexOf(a) - indexOf(b));
  if (items.some((item) => item.state === "skipped" && item.extra?.skip !== "when")) {
    const late = draft.run.stop === null;
    const state = late ? "timed_out" : stoppedState(draft.run.stop!);
    const reason = late ? "its deadline passed" : draft.run.stop!.reason;
    draft.move(step, state, { endedMs: now.wallMs, reason });
    return;
  }
  const outputs = items.map((item) => item.output);
  const problem = listProblem(outputs);
  if (problem === null) draft.move(step, "succeeded", { endedMs: now.wallMs, output: outputs, error: null });
  else draft.move(step, "failed", { endedMs: now.wallMs, error: problem });
}

function listProblem(outputs: Json[]): StepError | null {
  let size = 0;
  for (const output of outputs) size += output === null ? 4 : JSON.stringify(output).length;
  if (size <= MAX_LIST_OUTPUT) return null;
  const message = `the outputs of all items have ${size} characters, more than ${MAX_LIST_OUTPUT}: return less from each`;
  return { code: "too_large", message, retryable: false, started: true };
}

/** How a step ends that was under way when its run was stopped. */
export function stoppedState(stop: RunStop): "timed_out" | "cancelled" {
  return stop.state === "timed_out" ? "timed_out" : "cancelled";
}
