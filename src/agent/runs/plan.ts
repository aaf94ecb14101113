import type { NewRun } from "../../model/run-build.ts";
import { RunDraft, type Times } from "../../model/run-draft.ts";
import { deadLetter } from "../../model/run-ending.ts";
import { runRecord, stepRecord } from "../../model/run-records.ts";
import { type AttemptRow, hasEnded, type StepRow } from "../../model/run.ts";
import type { LaterRun } from "../../model/schedule-later.ts";
import type { LiveRun, RunChange } from "./ports.ts";

export type { Times };

/** A change together with the rows as they stand once it is committed. Plans never touch the rows they were given. */
export interface PlannedChange {
  change: RunChange;
  run: LiveRun["run"];
  /** Rows that are new or changed. */
  steps: StepRow[];
  /** Ids of rows that are gone. */
  removed: string[];
  /** Rows that may be started now, or when their `notBeforeMs` has come. */
  queued: StepRow[];
  started: NewRun[];
  /** Running rows whose attempt or child run must now be stopped; `planCancelled` when nothing of it runs any more. */
  abort: StepRow[];
}

type StepPatch = RunChange["steps"][number];

/** What goes into the change beside the rows. */
interface Beside {
  attempt?: AttemptRow;
  lock?: RunChange["lock"];
  newRuns?: NewRun[];
  newLaters?: LaterRun[];
  abort?: StepRow[];
}

/** The plan of what a draft has come to. `guarded`: rows as they must still be when the change is committed. */
export function planOf(draft: RunDraft, guarded: StepRow[], now: Times, beside: Beside = {}): PlannedChange {
  const { run, before, created } = draft;
  const steps = [...draft.changed.values()];
  const change: RunChange = {
    runId: run.id,
    guards: guarded.map(({ stepId, fence, state }) => ({ stepId, fence, state })),
    steps: steps.map((row) => patchOf(draft.stepBefore(row.stepId), row)),
    records: recordsOf(draft),
  };
  if (created.size > 0) {
    change.newSteps = [...created.values()];
    steps.push(...change.newSteps);
  }
  if (draft.removed.size > 0) change.removedSteps = [...draft.removed];
  if (beside.newRuns !== undefined && beside.newRuns.length > 0) change.newRuns = beside.newRuns;
  if (beside.newLaters !== undefined && beside.newLaters.length > 0) change.newLaters = beside.newLaters;
  if (beside.lock) change.lock = beside.lock;
  if (beside.attempt) change.attempt = beside.attempt;
  if (run !== before) {
    change.run = runPatch(before, run);
    if (hasEnded(run.state)) endOf(draft, change, now);
  }
  return {
    change,
    run,
    steps,
    removed: change.removedSteps ?? [],
    queued: steps.filter((row) => row.state === "queued"),
    started: change.newRuns ?? [],
    abort: beside.abort ?? [],
  };
}

export function draftOf(live: LiveRun): RunDraft {
  return new RunDraft(live);
}

/** Locks go with the run that held them; a run that ended badly is set aside in the same transaction. */
function endOf(draft: RunDraft, change: RunChange, now: Times): void {
  const { exclusive, steps, finally: last, onFailure } = draft.definition;
  const locks = (step: { exclusive: unknown }) => step.exclusive !== null;
  if (exclusive !== null || steps.some(locks) || last.some(locks) || onFailure.some(locks)) {
    change.unlock = true;
  }
  const letter = deadLetter(draft, now);
  if (letter !== null) change.dead = letter;
}

/** Only columns that differ: the rest need not travel to the store. */
function patchOf(before: StepRow | undefined, after: StepRow): StepPatch {
  const { stepId, state } = after;
  const patch: StepPatch = { stepId, state };
  if (before?.waits !== after.waits) patch.waits = after.waits;
  if (before?.attempts !== after.attempts) patch.attempts = after.attempts;
  if (before?.unknowns !== after.unknowns) patch.unknowns = after.unknowns;
  if (before?.fence !== after.fence) patch.fence = after.fence;
  if (before?.notBeforeMs !== after.notBeforeMs) patch.notBeforeMs = after.notBeforeMs;
  if (before?.startedMs !== after.startedMs) patch.startedMs = after.startedMs;
  if (before?.endedMs !== after.endedMs) patch.endedMs = after.endedMs;
  if (before?.output !== after.output) patch.output = after.output;
  if (before?.error !== after.error) patch.error = after.error;
  if (before?.reason !== after.reason) patch.reason = after.reason;
  if (before?.extra !== after.extra) patch.extra = after.extra;
  return patch;
}

function runPatch(before: LiveRun["run"], after: LiveRun["run"]): NonNullable<RunChange["run"]> {
  const patch: NonNullable<RunChange["run"]> = { state: after.state };
  if (before.reason !== after.reason) patch.reason = after.reason;
  if (before.startedMs !== after.startedMs) patch.startedMs = after.startedMs;
  if (before.endedMs !== after.endedMs) patch.endedMs = after.endedMs;
  if (before.stop !== after.stop) patch.stop = after.stop;
  if (before.deadlineMs !== after.deadlineMs) patch.deadlineMs = after.deadlineMs;
  if (before.output !== after.output) patch.output = after.output;
  return patch;
}

/** The hub is told of leases, ends and retries, and of what waits for a person; of a run that it begins and ends. */
function recordsOf(draft: RunDraft): RunChange["records"] {
  const { run, before, definition } = draft;
  const records: RunChange["records"] = [];
  const ended = hasEnded(run.state) && !hasEnded(before.state);
  if (!ended && run.state === "running" && before.state !== "running") {
    records.push(runRecord(run, definition));
  }
  for (const row of draft.changed.values()) {
    if (isTold(draft.stepBefore(row.stepId), row)) records.push(stepRecord(row, draft.definitionOf(row)));
  }
  for (const row of draft.created.values()) {
    if (hasEnded(row.state)) records.push(stepRecord(row, draft.definitionOf(row)));
  }
  if (ended) records.push(runRecord(run, definition));
  return records;
}

function isTold(before: StepRow | undefined, { state, waits, attempts }: StepRow): boolean {
  if (state === "waiting") return waits !== before?.waits && (waits === "approval" || waits === "decision");
  if (state === "queued") return attempts > 0 && before?.waits !== "lock";
  return state !== before?.state;
}

export function attemptRow(step: StepRow, startedMs: number): AttemptRow {
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
