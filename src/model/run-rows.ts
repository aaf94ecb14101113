import type { StepDefinition } from "./pipeline.ts";
import type { StepPart, StepRow } from "./run.ts";

/** A step as it comes into being; `waits` null is one that may start. */
export function stepRow(
  runId: string,
  part: StepPart,
  stepId: string,
  position: number,
  waits: "needs" | null,
): StepRow {
  return {
    runId,
    stepId,
    part,
    position,
    state: waits === null ? "queued" : "waiting",
    waits,
    attempts: 0,
    unknowns: 0,
    fence: 0,
    notBeforeMs: 0,
    startedMs: null,
    endedMs: null,
    output: null,
    error: null,
    reason: null,
    extra: null,
  };
}

/** First rows of the part `steps`. */
export function firstRows(runId: string, definitions: StepDefinition[]): StepRow[] {
  return definitions.map(({ id, needs }, index) =>
    stepRow(runId, "steps", id, index, needs.length === 0 ? null : "needs"),
  );
}
