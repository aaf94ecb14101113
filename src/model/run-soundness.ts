import { advanceRun } from "./run-advance.ts";
import { RunDraft } from "./run-draft.ts";
import { itemId } from "./run-foreach.ts";
import { fieldProblem } from "./run-fields.ts";
import type { PipelineDefinition } from "./pipeline.ts";
import { hasEnded, type RunRow, type StepRow } from "./run.ts";

/** At rest nothing follows, so that it does not matter when it is. */
const ANY_TIME = { wallMs: 0, trustedMs: 0 };

/**
 * Why the rows of an open run are none that it can have come to; null when they are. A change of a run is stored with all
 * that follows from it, so that open rows are at rest, and whatever is under way has somebody who brings it on. Rows of
 * which that is not true were changed on the disk: a run that is taken up with them may never end.
 */
export function unsoundness(run: RunRow, steps: StepRow[], definition: PipelineDefinition): string | null {
  try {
    return (
      fieldProblem(run, steps, definition) ??
      runProblem(run, steps, definition) ??
      stepsProblem(run, steps, definition) ??
      (isAtRest(run, steps, definition) ? null : "something follows from its rows that was not stored")
    );
  } catch (error) {
    // What reads the rows to go on with them throws: no such rows were written.
    return (error as Error).message;
  }
}

function runProblem(run: RunRow, steps: StepRow[], definition: PipelineDefinition): string | null {
  const { state, startedMs, stop, deadlineMs } = run;
  if (run.parent?.run === run.id) return "it is its own parent";
  if (run.pipeline !== definition.name) return "its pipeline has another name";
  if ((state === "running") !== (startedMs !== null)) return `it is ${state}, and its start says otherwise`;
  if (state === "waiting" && definition.exclusive === null)
    return "it waits for a lock that it does not take";
  if (startedMs === null && (stop !== null || deadlineMs !== null || steps.some(hasBegun)))
    return "it has not begun, and something of it has";
  if (startedMs !== null && definition.deadlineMs !== null && deadlineMs === null)
    return "it has lost its deadline";
  return null;
}

/** A step may wait for its lock before its run begins. */
function hasBegun({ state, waits }: StepRow): boolean {
  return !(state === "queued" || (state === "waiting" && (waits === "needs" || waits === "lock")));
}

function stepsProblem(run: RunRow, steps: StepRow[], definition: PipelineDefinition): string | null {
  const byId = new Map(steps.map((row) => [row.stepId, row]));
  for (const { id } of definition.steps)
    if (byId.get(id)?.part !== "steps") return `its step ${id} is not there`;
  const draft = new RunDraft({ run, steps: byId, definition });
  const items = itemsByStep(steps);
  for (const row of steps) {
    const problem = stepProblem(draft, row) ?? familyProblem(draft, row, items.get(row.stepId) ?? []);
    if (problem !== null) return `step ${row.stepId}: ${problem}`;
  }
  return null;
}

/** Whether what it waits for can come. */
function stepProblem(draft: RunDraft, row: StepRow): string | null {
  const { state, waits, attempts, extra } = row;
  const { work, exclusive, deadlineMs } = draft.definitionOf(row);
  if ((state === "waiting") !== (waits !== null)) return `${state}, and it waits for ${waits}`;
  if (waits === "approval" && (work !== "approval" || !extra?.approval || extra.deadlineMs === undefined))
    return "it asks nothing that can be answered";
  if (waits === "decision" && attempts === 0) return "nothing of it can be unknown";
  if (waits === "lock" && exclusive === null) return "it waits for a lock that it does not take";
  if (state === "running" && deadlineMs !== null && extra?.deadlineMs === undefined)
    return "it has lost its deadline";
  return null;
}

/** A `foreach` that runs is brought on by its items, and they by it. */
function familyProblem(draft: RunDraft, row: StepRow, items: StepRow[]): string | null {
  const { foreach } = draft.definitionOf(row);
  const of = row.extra?.foreach;
  if (of !== undefined && row.part !== "undo") {
    const step = draft.step(of.step);
    if (foreach === null || step === undefined || row.stepId !== itemId(of.step, of.index))
      return "it is an item of nothing";
    return hasEnded(row.state) || step.state === "running" ? null : "its list does not run";
  }
  if (foreach === null || row.part === "undo") return items.length === 0 ? null : "it has items";
  const indexes = new Set(items.map(({ extra }) => extra!.foreach!.index));
  for (let index = 0; index < items.length; index++) if (!indexes.has(index)) return "an item is not there";
  if (row.state !== "running") return null;
  const going = items.some((item) => !hasEnded(item.state) && item.waits !== "needs");
  return going ? null : "none of its items is under way";
}

function itemsByStep(steps: StepRow[]): Map<string, StepRow[]> {
  const items = new Map<string, StepRow[]>();
  for (const row of steps) {
    const of = row.part === "undo" ? undefined : row.extra?.foreach;
    if (of === undefined) continue;
    const others = items.get(of.step);
    if (others) others.push(row);
    else items.set(of.step, [row]);
  }
  return items;
}

function isAtRest(run: RunRow, steps: StepRow[], definition: PipelineDefinition): boolean {
  const draft = new RunDraft({ run, steps: new Map(steps.map((row) => [row.stepId, row])), definition });
  advanceRun(draft, ANY_TIME);
  return draft.run === run && draft.changed.size === 0 && draft.created.size === 0;
}
