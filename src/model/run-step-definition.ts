import type { PipelineDefinition, StepDefinition } from "./pipeline.ts";
import type { StepRow } from "./run.ts";

/** What a row executes: a declared step, the step of its `foreach`, an added one, or an undo. */
export function definitionOf(pipeline: PipelineDefinition, row: StepRow): StepDefinition {
  const { extra } = row;
  if (extra?.definition) return extra.definition;
  if (extra?.undoes !== undefined) return undoStep(pipeline, row, extra.foreach?.step ?? extra.undoes);
  const id = extra?.foreach?.step ?? row.stepId;
  const { steps, finally: last, onFailure } = pipeline;
  const declared = row.part === "steps" ? steps : row.part === "finally" ? last : onFailure;
  const found = declared[row.position];
  if (found?.id === id) return found;
  return declared.find((step) => step.id === id) ?? missing(pipeline, id);
}

function missing(pipeline: PipelineDefinition, id: string): never {
  throw new Error(`pipeline ${pipeline.name} has no step ${id}`);
}

function undoStep(pipeline: PipelineDefinition, row: StepRow, undone: string): StepDefinition {
  const step = pipeline.steps.find(({ id }) => id === undone) ?? missing(pipeline, undone);
  const undo = step.undo ?? missing(pipeline, row.stepId);
  return {
    id: row.stepId,
    work: "action",
    action: undo.action,
    needs: [],
    when: null,
    foreach: null,
    with: undo.with,
    timeoutMs: undo.timeoutMs,
    deadlineMs: null,
    retry: undo.retry,
    effect: undo.effect,
    undo: null,
    exclusive: null,
    breaker: null,
    approval: null,
  };
}
