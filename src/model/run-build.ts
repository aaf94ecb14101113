import type { Json } from "./json.ts";
import type { PipelineDefinition, StepDefinition } from "./pipeline.ts";
import { LANES, type NewRecord, RECORD_CLASSES, type RunRecordBody, type StepRecordBody } from "./record.ts";
import { type RunRow, type StepRow, stepKey } from "./run.ts";

/** First rows of the steps of one part of a pipeline. */
export function newStepRows(
  runId: string,
  part: StepRow["part"],
  definitions: StepDefinition[],
  from = 0,
): StepRow[] {
  return definitions.map((definition, index) => ({
    runId,
    stepId: definition.id,
    part,
    position: from + index,
    state: definition.needs.length === 0 ? "queued" : "waiting",
    attempts: 0,
    unknowns: 0,
    fence: 0,
    notBeforeMs: 0,
    startedMs: null,
    endedMs: null,
    output: null,
    error: null,
    reason: null,
  }));
}

/** A run as it comes into being: its rows, its pipeline version and what the hub is told of it. */
export interface NewRun {
  run: RunRow;
  steps: StepRow[];
  definition: PipelineDefinition;
  records: NewRecord[];
}

/** All that is stored when a run comes into being, but for the definition's hash, which the caller knows. */
export function newRun(options: {
  id: string;
  definition: PipelineDefinition;
  definitionHash: string;
  rule: string | null;
  event: { source: string; id: string } | null;
  params: Json;
  createdMs: number;
}): NewRun {
  const run: RunRow = {
    id: options.id,
    pipeline: options.definition.name,
    definition: options.definitionHash,
    rule: options.rule,
    eventSource: options.event?.source ?? null,
    eventId: options.event?.id ?? null,
    params: options.params,
    state: "queued",
    reason: null,
    createdMs: options.createdMs,
    startedMs: null,
    endedMs: null,
  };
  return {
    run,
    steps: newStepRows(run.id, "steps", options.definition.steps),
    definition: options.definition,
    records: [runRecord(run, options.definition)],
  };
}

export function runRecord(run: RunRow, definition: PipelineDefinition): NewRecord {
  const describe = (part: StepRow["part"]) => (step: StepDefinition) => ({
    id: step.id,
    action: step.action,
    needs: step.needs,
    part,
    effect: step.effect,
  });
  const body: RunRecordBody = {
    id: run.id,
    pipeline: run.pipeline,
    rule: run.rule,
    event:
      run.eventSource !== null && run.eventId !== null ? { source: run.eventSource, id: run.eventId } : null,
    state: run.state,
    reason: run.reason,
    createdMs: run.createdMs,
    startedMs: run.startedMs,
    endedMs: run.endedMs,
    steps: [...definition.steps.map(describe("steps")), ...definition.onFailure.map(describe("on_failure"))],
  };
  return { lane: LANES.results, class: RECORD_CLASSES.run, body: JSON.stringify(body) };
}

export function stepRecord(step: StepRow, action: string): NewRecord {
  const body: StepRecordBody = {
    run: step.runId,
    step: step.stepId,
    action,
    state: step.state,
    attempts: step.attempts,
    key: stepKey(step.runId, step.stepId),
    startedMs: step.startedMs,
    endedMs: step.endedMs,
    output: step.output,
    error: step.error,
    reason: step.reason,
  };
  return { lane: LANES.results, class: RECORD_CLASSES.step, body: JSON.stringify(body) };
}
