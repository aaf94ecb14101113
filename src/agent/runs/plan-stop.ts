import type { Json } from "../../model/json.ts";
import { advanceRun } from "../../model/run-advance.ts";
import type { RunDraft } from "../../model/run-draft.ts";
import { deadLetter, endRun } from "../../model/run-ending.ts";
import { stoppedState } from "../../model/run-foreach.ts";
import { currentPart } from "../../model/run-parts.ts";
import { runRecord } from "../../model/run-records.ts";
import { hasEnded, type RunStop, type StepRow } from "../../model/run.ts";
import { draftOf, type PlannedChange, planOf, type Times } from "./plan.ts";
import type { LiveRun } from "./ports.ts";

/**
 * The run is to end early. What has not begun is skipped; attempts and children in `abort` are to be stopped. A run
 * that has not begun ends at once, and nothing of it runs, `finally` and `on_failure` neither. A deadline or a lock
 * binds only while `steps` run: later this changes nothing.
 */
export function planStop(live: LiveRun, stop: RunStop, now: Times): PlannedChange {
  const draft = draftOf(live);
  const part = currentPart(draft);
  const finishing = part !== "steps";
  if (hasEnded(draft.run.state) || (finishing && stop.state !== "cancelled") || isStopped(draft, stop)) {
    return planOf(draft, [], now);
  }
  draft.run = { ...draft.run, stop };
  if (draft.run.startedMs === null) {
    endRun(draft, now);
    return planOf(draft, rowsBefore(draft), now);
  }
  const abort: StepRow[] = [];
  // What is left of undo and on_failure a cancelled run does not come to; what finally has runs all the same.
  for (const row of draft.rows()) {
    if (row.state === "running" && row.waits === null && !isForeach(draft, row)) {
      if (row.part === "steps" || finishing) abort.push(row);
    } else if (row.part === part && part !== "finally") cutShort(draft, row, stop, now);
  }
  advanceRun(draft, now);
  return planOf(draft, rowsBefore(draft), now, { abort });
}

/** A person's stop goes before any other; the same again stops what runs by now. */
function isStopped({ run }: RunDraft, stop: RunStop): boolean {
  return run.stop !== null && stop.state !== "cancelled";
}

function isForeach(draft: RunDraft, row: StepRow): boolean {
  return draft.step(`${row.stepId}[0]`) !== undefined;
}

function cutShort(draft: RunDraft, row: StepRow, stop: RunStop, now: Times): void {
  if (hasEnded(row.state) || row.state === "running") return;
  const fields = { endedMs: now.wallMs, reason: stop.reason, extra: { skip: "stop" as const } };
  if (row.waits === "decision") {
    const reason = `${stop.reason}; ${row.error?.message ?? "the outcome is unknown"}`;
    draft.move(row, "uncertain", { endedMs: now.wallMs, reason });
  } else if (row.waits === "approval" || (row.state === "queued" && row.attempts > 0)) {
    draft.move(row, stoppedState(stop), fields);
  } else draft.move(row, "skipped", fields);
}

function rowsBefore(draft: RunDraft): StepRow[] {
  return [...draft.changed.keys()].map((id) => draft.stepBefore(id)!);
}

/**
 * For a pipeline with an `output`: completes a plan that ends the run as succeeded (`planned.run.state`), before it is
 * committed. An output that cannot be made fails the run.
 */
export function planOutput(
  planned: PlannedChange,
  live: LiveRun,
  output: { value: Json } | { problem: string },
  now: Times,
): PlannedChange {
  const ended = { ...planned.run };
  if ("value" in output) ended.output = output.value;
  else {
    ended.state = "failed";
    ended.reason = `the output cannot be made: ${output.problem}`;
  }
  const change = { ...planned.change, run: { ...planned.change.run } };
  change.run.state = ended.state;
  change.run.reason = ended.reason;
  change.run.output = ended.output;
  change.records = [...change.records.slice(0, -1), runRecord(ended, live.definition)];
  if ("problem" in output) {
    const draft = draftOf(live);
    draft.run = ended;
    for (const row of planned.steps) draft.changed.set(row.stepId, row);
    const letter = deadLetter(draft, now);
    if (letter !== null) change.dead = letter;
  }
  return { ...planned, run: ended, change };
}
