import type { PipelineDefinition } from "../../model/pipeline.ts";
import { unsoundness } from "../../model/run-soundness.ts";
import { hasEnded, type RunRow, type StepRow } from "../../model/run.ts";
import type { SqlRow } from "./run-columns.ts";
import { damagedText } from "./stored-json.ts";

/** Digits of SHA-256. */
const HASH = /^[0-9a-f]{64}$/;

/** The row of a run by its id; undefined when there is none. */
export type FindRun = (id: string) => SqlRow | undefined;

/**
 * Throws `corrupt` where an open run's rows are none that it can have come to: they changed, or an index led to another
 * row. Taken up, it might never end.
 */
export function checkOpenRun(
  row: SqlRow,
  run: RunRow,
  steps: StepRow[],
  definition: PipelineDefinition,
  find: FindRun,
): void {
  if (row.open !== 1 || unsoundness(run, steps, definition) !== null) throw damagedText();
  for (const step of steps) {
    const { child } = step.extra ?? {};
    if (step.state === "running" && child !== undefined && !isAnswered(run, step, find(child)))
      throw damagedText();
  }
}

/** A child tells its parent of its end, and is taken up itself until then. One that is gone is told as that. */
function isAnswered(run: RunRow, step: StepRow, child: SqlRow | undefined): boolean {
  if (child === undefined) return true;
  if (hasEnded(child.state as RunRow["state"])) return child.open === 0;
  const { open, parent_run: parent, parent_step: of, starter_kind: kind } = child;
  return open === 1 && parent === run.id && of === step.stepId && kind === "parent";
}

/** Throws `corrupt` for a text that is not the one by whose hash it was stored. */
export function checkDefinition(hash: string, text: string): void {
  if (!HASH.test(hash)) return;
  if (new Bun.CryptoHasher("sha256").update(text).digest("hex") !== hash) throw damagedText();
}
