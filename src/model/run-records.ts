import type { PipelineDefinition, StepDefinition } from "./pipeline.ts";
import { LANES, type NewRecord, RECORD_CLASSES, type RunRecordBody, type StepRecordBody } from "./record.ts";
import { type RunRow, type StepPart, type StepRow, stepKey } from "./run.ts";

/** JSON of the steps that a pipeline declares: the same in each record of each of its runs. */
const declared = new WeakMap<PipelineDefinition, string>();

/** What the hub is told of a run: when it comes into being, begins and ends. */
export function runRecord(run: RunRow, definition: PipelineDefinition): NewRecord {
  const { eventSource, eventId, parent } = run;
  const body: Omit<RunRecordBody, "steps"> = {
    id: run.id,
    pipeline: run.pipeline,
    rule: run.rule,
    event: eventSource !== null && eventId !== null ? { source: eventSource, id: eventId } : null,
    state: run.state,
    reason: run.reason,
    createdMs: run.createdMs,
    startedMs: run.startedMs,
    endedMs: run.endedMs,
    starter: run.starter,
    parent: parent === null ? null : { run: parent.run, step: parent.step },
    retryOf: run.retryOf,
    output: run.output,
  };
  const json = `${JSON.stringify(body).slice(0, -1)},"steps":${stepsJson(definition)}}`;
  return { lane: LANES.results, class: RECORD_CLASSES.run, body: json };
}

function stepsJson(definition: PipelineDefinition): string {
  let json = declared.get(definition);
  if (json === undefined) declared.set(definition, (json = JSON.stringify(declaredSteps(definition))));
  return json;
}

function declaredSteps({ steps, finally: last, onFailure }: PipelineDefinition): RunRecordBody["steps"] {
  const described: RunRecordBody["steps"] = [];
  const describe = (part: StepPart, definitions: StepDefinition[]) => {
    for (const { id, action, needs, effect, work } of definitions) {
      described.push({ id, action, needs, part, effect, work });
    }
  };
  describe("steps", steps);
  describe("finally", last);
  describe("on_failure", onFailure);
  return described;
}

/** What the hub is told of a step: at its lease, when it ends, and when it goes back to wait. */
export function stepRecord(step: StepRow, definition: StepDefinition): NewRecord {
  const body: StepRecordBody = {
    run: step.runId,
    step: step.stepId,
    action: definition.action,
    state: step.state,
    attempts: step.attempts,
    key: stepKey(step.runId, step.stepId),
    startedMs: step.startedMs,
    endedMs: step.endedMs,
    output: step.output,
    error: step.error,
    reason: step.reason,
    part: step.part,
  };
  if (step.waits !== null) body.waits = step.waits;
  const { extra } = step;
  if (extra?.child !== undefined) body.child = extra.child;
  if (extra?.foreach || extra?.addedBy || extra?.undoes !== undefined)
    body.origin = origin(extra, definition);
  return { lane: LANES.results, class: RECORD_CLASSES.step, body: JSON.stringify(body) };
}

function origin(
  { foreach, addedBy, undoes }: NonNullable<StepRow["extra"]>,
  { needs, effect }: StepDefinition,
): NonNullable<StepRecordBody["origin"]> {
  return {
    ...(foreach ? { foreach: { step: foreach.step, index: foreach.index } } : {}),
    ...(addedBy ? { addedBy: addedBy.step } : {}),
    ...(undoes === undefined ? {} : { undoes }),
    needs,
    effect,
  };
}
