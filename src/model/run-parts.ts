import type { StepDefinition } from "./pipeline.ts";
import { hasEnded, STEP_PARTS, type StepExtra, type StepPart, type StepRow } from "./run.ts";
import type { RunDraft, Times } from "./run-draft.ts";
import { endRun, failureOf } from "./run-ending.ts";
import { stepRow } from "./run-rows.ts";

/** When every step of a part has ended the next part that has something to do begins; after the last one the run ends. */
export function advanceParts(draft: RunDraft, now: Times): void {
  const current = currentPart(draft);
  if (continuePart(draft, current)) return;
  for (const part of STEP_PARTS.slice(STEP_PARTS.indexOf(current) + 1)) {
    if (!isWanted(draft, part)) continue;
    beginPart(draft, part);
    if (continuePart(draft, part)) return;
  }
  endRun(draft, now);
}

/** The last part of which something has begun. Added steps of a later part wait for `needs` until then. */
export function currentPart(draft: RunDraft): StepPart {
  let current = 0;
  for (const row of draft.rows()) {
    if (row.part !== "steps" && row.waits !== "needs") {
      current = Math.max(current, STEP_PARTS.indexOf(row.part));
    }
  }
  return STEP_PARTS[current]!;
}

/** True when the part goes on: a step of it is under way, or the next one is let go. */
function continuePart(draft: RunDraft, part: StepPart): boolean {
  let next: StepRow | null = null;
  for (const row of draft.rows()) {
    if (row.part !== part || hasEnded(row.state)) continue;
    if (row.waits !== "needs" || part === "steps") return true;
    if (next === null || comesBefore(row, next)) next = row;
  }
  if (next !== null) draft.move(next, "queued");
  return next !== null;
}

/** `finally`: the newest first, and what was added is newer than what is declared. */
function comesBefore(one: StepRow, other: StepRow): boolean {
  return one.part === "finally" ? one.position > other.position : one.position < other.position;
}

function isWanted(draft: RunDraft, part: StepPart): boolean {
  switch (part) {
    case "steps":
    case "finally":
      return true;
    case "undo":
    case "on_failure": {
      const stop = draft.run.stop?.state;
      if (stop === "cancelled") return false;
      return stop !== undefined || failureOf(draft, "steps") !== null;
    }
  }
}

function beginPart(draft: RunDraft, part: StepPart): void {
  const { id } = draft.run;
  const waiting = (definition: StepDefinition, position: number) =>
    draft.create(stepRow(id, part, definition.id, position, "needs"));
  if (part === "finally") draft.definition.finally.forEach(waiting);
  if (part === "on_failure") draft.definition.onFailure.forEach(waiting);
  if (part === "undo") {
    undone(draft).forEach((row, position) => {
      const extra: StepExtra = { undoes: row.stepId };
      if (row.extra?.foreach) extra.foreach = row.extra.foreach;
      draft.create({ ...stepRow(id, part, `${row.stepId}~undo`, position, "needs"), extra });
    });
  }
}

/** What is to be taken back: the last one to end first. A `foreach` is taken back item by item. */
function undone(draft: RunDraft): StepRow[] {
  const rows: StepRow[] = [];
  for (const row of draft.rows()) {
    if (row.part === "steps" && row.state === "succeeded" && row.extra?.order !== undefined) rows.push(row);
  }
  return rows.sort((a, b) => b.extra!.order! - a.extra!.order!);
}

/** The place of a step in the order of undoing, for one that has just succeeded; undefined when it has no undo. */
export function undoOrder(draft: RunDraft, row: StepRow): number | undefined {
  const definition = draft.definitionOf(row);
  if (row.part !== "steps" || definition.undo === null) return undefined;
  if (definition.foreach !== null && row.extra?.foreach === undefined) return undefined;
  let last = 0;
  for (const other of draft.rows()) last = Math.max(last, other.extra?.order ?? 0);
  return last + 1;
}
