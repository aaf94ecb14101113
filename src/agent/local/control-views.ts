import { isoOrNull, isoTime } from "../../core/iso-time.ts";
import type { CloudEvent } from "../../model/event.ts";
import type { PipelineDefinition, StepDefinition } from "../../model/pipeline.ts";
import type { FindingRow } from "../../model/rule.ts";
import {
  type DeadLetter,
  hasEnded,
  type RunRow,
  STEP_PARTS,
  type StepRow,
  stepKey,
} from "../../model/run.ts";
import type { ControlRule, FoundRun } from "./control-ports.ts";

/**
 * What the control socket answers. Where the hub's API has the same thing it has the same fields, so that programs and
 * the command line read both alike. Times are RFC 3339 in UTC.
 */
export interface ViewTimes {
  wallMs: number;
  trustedMs: number;
}

export type RunDetailView = ReturnType<typeof runDetailView>;

/** An item of a list: without what may be large. */
export function runItemView(agent: string, row: { number: number; run: RunRow }) {
  const { params: _params, output: _output, ...item } = runView(agent, row);
  return item;
}

function runView(agent: string, { number, run }: { number: number; run: RunRow }) {
  return {
    n: number,
    agent,
    id: run.id,
    pipeline: run.pipeline,
    rule: run.rule,
    starter: run.starter,
    state: run.state as string,
    reason: run.reason,
    event:
      run.eventSource !== null && run.eventId !== null ? { source: run.eventSource, id: run.eventId } : null,
    params: run.params,
    priority: run.priority,
    parent: run.parent && { run: run.parent.run, step: run.parent.step },
    retryOf: run.retryOf,
    stop: run.stop,
    output: run.output,
    createdAt: time(run.createdMs),
    startedAt: isoOrNull(run.startedMs),
    endedAt: isoOrNull(run.endedMs),
  };
}

/** A run with its steps in the order of their parts, and what of its pipeline has no row yet. */
export function runDetailView(agent: string, found: FoundRun, children: RunRow[], times: ViewTimes) {
  const { definition, steps, run } = found;
  const definitions = new Map(
    [...definition.steps, ...definition.onFailure, ...definition.finally].map((step) => [step.id, step]),
  );
  const attempts = Map.groupBy(found.attempts, (attempt) => attempt.stepId);
  const rows = [...steps].sort(inOrder);
  const known = new Set(rows.map((row) => row.stepId));
  const later = (part: string, declared: StepDefinition[]) =>
    hasEnded(run.state)
      ? []
      : declared
          .filter((step) => !known.has(step.id))
          .map((step) => ({ step: step.id, part, action: step.action }));
  return {
    ...runView(agent, found),
    deadlineAt: run.deadlineMs === null ? null : wallTime(run.deadlineMs, times),
    steps: rows.map((row) =>
      stepView(row, definitionOf(row, definitions), attempts.get(row.stepId) ?? [], times),
    ),
    later: [
      ...later("finally", definition.finally.toReversed()),
      ...later("on_failure", definition.onFailure),
    ],
    children: children.map((child) => ({
      id: child.id,
      pipeline: child.pipeline,
      state: child.state as string,
      step: child.parent?.step ?? null,
      kind: child.starter.kind,
    })),
  };
}

/** Changes whenever something of the step that people look at has changed. */
export function stepRevision({ state, waits, fence, attempts, notBeforeMs, extra }: StepRow): string {
  return `${state} ${waits} ${fence} ${attempts} ${notBeforeMs} ${extra?.child} ${extra?.approval?.by}`;
}

function stepView(
  row: StepRow,
  definition: Partial<StepDefinition> | undefined,
  attempts: FoundRun["attempts"],
  times: ViewTimes,
) {
  const { extra } = row;
  return {
    step: row.stepId,
    position: row.position,
    part: row.part as string,
    action: definition?.action ?? "-",
    work: definition?.work ?? "action",
    effect: definition?.effect ?? "-",
    // Items, additions and undo steps hang on the step that they belong to.
    needs: extra?.foreach || extra?.addedBy || extra?.undoes ? [] : (definition?.needs ?? []),
    state: row.state as string,
    waits: row.waits,
    attempts: row.attempts,
    unknowns: row.unknowns,
    key: stepKey(row.runId, row.stepId),
    startedAt: isoOrNull(row.startedMs),
    endedAt: isoOrNull(row.endedMs),
    retryAt:
      row.state === "queued" && row.notBeforeMs > times.trustedMs ? wallTime(row.notBeforeMs, times) : null,
    deadlineAt:
      extra?.deadlineMs === undefined || hasEnded(row.state) ? null : wallTime(extra.deadlineMs, times),
    output: row.output,
    error: row.error,
    reason: row.reason,
    origin: originOf(extra),
    child: extra?.child ?? null,
    skip: extra?.skip ?? null,
    approval: extra?.approval ?? null,
    tries: attempts.map((attempt) => ({
      number: attempt.number,
      state: attempt.state as string,
      startedAt: time(attempt.startedMs),
      endedAt: isoOrNull(attempt.endedMs),
      error: attempt.error,
    })),
  };
}

/** Of a step that the pipeline does not declare: an item of a `foreach`, an added one, an undo. */
function originOf(extra: StepRow["extra"]) {
  if (!extra?.foreach && !extra?.addedBy && extra?.undoes === undefined) return null;
  const { foreach, addedBy, undoes } = extra;
  return {
    ...(foreach ? { foreach } : {}),
    ...(addedBy ? { addedBy: addedBy.step } : {}),
    ...(undoes === undefined ? {} : { undoes }),
  };
}

function definitionOf(
  { stepId, extra }: StepRow,
  definitions: Map<string, StepDefinition>,
): Partial<StepDefinition> | undefined {
  if (extra?.definition) return extra.definition;
  if (extra?.undoes !== undefined) {
    return definitions.get(extra.undoes.replace(/\[\d+\]$/, ""))?.undo ?? undefined;
  }
  return definitions.get(extra?.foreach?.step ?? stepId);
}

function inOrder(a: StepRow, b: StepRow): number {
  return (
    STEP_PARTS.indexOf(a.part) - STEP_PARTS.indexOf(b.part) ||
    a.position - b.position ||
    (a.extra?.foreach?.index ?? -1) - (b.extra?.foreach?.index ?? -1)
  );
}

export function eventView(agent: string, { n, body }: { n: number; body: string }) {
  const event = JSON.parse(body) as CloudEvent;
  const { source, id, type, subject = null, severity = null } = event;
  return { n, agent, source, id, type, subject, severity, time: event.time, receivedAt: event.time, event };
}

/** An item of a list: without what may be large. */
export function deadItemView(agent: string, letter: DeadLetter & { number: number }) {
  const { number, runId, pipeline, rule, state, reason, errors, createdMs } = letter;
  return {
    ...{ n: number, run: runId, agent, pipeline, rule, state: state as string, reason },
    ...{ errorCount: errors.length, createdAt: time(createdMs) },
  };
}

export function deadView(agent: string, letter: DeadLetter) {
  const { runId, pipeline, rule, params, state, reason, errors, createdMs } = letter;
  return {
    ...{ run: runId, agent, pipeline, rule, params, state: state as string, reason },
    errorCount: errors.length,
    errors: errors.map(({ step, attempt, atMs, error }) => ({ step, attempt, at: time(atMs), error })),
    createdAt: time(createdMs),
  };
}

export function findingView(agent: string, finding: FindingRow) {
  const { firstMs, lastMs, resolvedMs, extra = {}, ...rest } = finding;
  const { event, run, acknowledged, resolution, silenced, notes = [] } = extra;
  return {
    agent,
    ...rest,
    event: event ? { source: event.source, id: event.id } : null,
    run: run ?? null,
    silencedBy: silenced?.by ?? null,
    acknowledgedBy: acknowledged?.by ?? null,
    acknowledgedAt: isoOrNull(acknowledged?.atMs ?? null),
    resolution: resolution?.kind ?? null,
    resolvedBy: resolution?.by ?? null,
    reason: resolution?.reason || null,
    notes: notes.map((note) => ({ by: note.by, at: time(note.atMs), text: note.text })),
    firstAt: time(firstMs),
    lastAt: time(lastMs),
    resolvedAt: isoOrNull(resolvedMs),
  };
}

export function ruleView({ lastFiredMs, ...rule }: ControlRule) {
  return { ...rule, lastFiredAt: isoOrNull(lastFiredMs) };
}

/** `found`: parameters that a run finds without being given them, which nobody need give. */
export function pipelineView(definition: PipelineDefinition, found: Set<string>) {
  const { name, namespace, description, params, priority, concurrency } = definition;
  return {
    name,
    namespace,
    description,
    params: params.map((each) => ({ ...each, required: each.required && !found.has(each.name) })),
    priority,
    concurrency,
    steps: definition.steps.map(({ id }) => id),
  };
}

function time(ms: number): string {
  return isoTime(ms);
}

/** A trusted time as the host's clock will show it. */
function wallTime(trustedMs: number, times: ViewTimes): string {
  return time(times.wallMs + trustedMs - times.trustedMs);
}
