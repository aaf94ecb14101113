import type { AttemptEnd, AttemptFacts } from "../../model/attempt-facts.ts";
import type { Json } from "../../model/json.ts";
import {
  type AttemptRow,
  type DeadLetter,
  hasEnded,
  type ParentStep,
  type RunRow,
  type RunStop,
  type Starter,
  type StepError,
  type StepExtra,
  type StepRow,
} from "../../model/run.ts";
import type { ColumnOf } from "../../storage/column-updates.ts";
import type { Cell } from "../../storage/write-gate.ts";
import type { RunChange, StepPatch } from "./port.ts";
import { storedJson } from "./stored-json.ts";

/** A row as SQLite gives it. */
export type SqlRow = Record<string, unknown>;

/** JSON columns hold text; null is NULL. */
export function toJson(value: unknown): string | null {
  return value === null || value === undefined ? null : JSON.stringify(value);
}

export function fromJson(text: unknown): Json {
  return text === null || text === undefined ? null : storedJson<Json>(text as string);
}

/** Columns of `runs` that a run brings along, in the order of `runCells`. */
export const RUN_COLUMNS = `id, definition, state, open, parent_run, parent_key, event_source, event_id, starter_kind,
  starter_by, pipeline, rule, params, priority, concurrency_key, parent_step, retry_of, reason, stop, deadline_ms, output,
  created_ms, started_ms, ended_ms, config`;

/** Places in `runCells` of what the store itself looks at. */
export const RUN_CELL = {
  id: 0,
  definition: 1,
  open: 3,
  parentRun: 4,
  parentKey: 5,
  source: 6,
  event: 7,
  kind: 8,
};

export function runCells(run: RunRow): Cell[] {
  const { starter, parent } = run;
  return [
    run.id,
    run.definition,
    run.state,
    hasEnded(run.state) ? 0 : 1,
    parent?.run ?? null,
    parent?.key ?? null,
    run.eventSource,
    run.eventId,
    starter.kind,
    starter.by,
    run.pipeline,
    run.rule,
    JSON.stringify(run.params ?? null),
    run.priority,
    run.concurrencyKey,
    parent?.step ?? null,
    run.retryOf,
    run.reason,
    toJson(run.stop),
    run.deadlineMs,
    toJson(run.output),
    run.createdMs,
    run.startedMs,
    run.endedMs,
    run.config ?? null,
  ];
}

/** Reads rows of the first schema too (a damaged store is read as it is, without migrations). */
export function runFromRow(row: SqlRow): RunRow {
  return {
    id: row.id as string,
    pipeline: row.pipeline as string,
    definition: row.definition as string,
    rule: row.rule as string | null,
    starter: starterOf(row),
    eventSource: row.event_source as string | null,
    eventId: row.event_id as string | null,
    params: fromJson(row.params),
    priority: (row.priority as number | undefined) ?? 0,
    concurrencyKey: (row.concurrency_key as string | null | undefined) ?? null,
    parent: parentOf(row),
    retryOf: (row.retry_of as string | null | undefined) ?? null,
    state: row.state as RunRow["state"],
    reason: row.reason as string | null,
    stop: fromJson(row.stop) as unknown as RunStop | null,
    deadlineMs: (row.deadline_ms as number | null | undefined) ?? null,
    output: fromJson(row.output),
    createdMs: row.created_ms as number,
    startedMs: row.started_ms as number | null,
    endedMs: row.ended_ms as number | null,
    ...(typeof row.config === "string" ? { config: row.config } : {}),
  };
}

function starterOf(row: SqlRow): Starter {
  if (row.starter_kind !== undefined)
    return { kind: row.starter_kind as Starter["kind"], by: row.starter_by as string };
  return row.rule === null ? { kind: "manual", by: "unknown" } : { kind: "rule", by: row.rule as string };
}

function parentOf(row: SqlRow): ParentStep | null {
  const { parent_run: run, parent_step: step, parent_key: key } = row;
  return typeof run === "string" ? { run, step: step as string, key: key as string } : null;
}

type RunUpdate = NonNullable<RunChange["run"]> & { open?: number };

/** What a change may set of a run; `open` follows from the state. */
export const RUN_UPDATES: readonly ColumnOf<RunUpdate>[] = [
  { field: "state", column: "state" },
  { field: "open", column: "open" },
  { field: "reason", column: "reason" },
  { field: "startedMs", column: "started_ms" },
  { field: "endedMs", column: "ended_ms" },
  { field: "stop", column: "stop", json: true },
  { field: "deadlineMs", column: "deadline_ms" },
  { field: "output", column: "output", json: true },
];

/** What a change may set of a step. */
export const STEP_UPDATES: readonly ColumnOf<StepPatch>[] = [
  { field: "state", column: "state" },
  { field: "attempts", column: "attempts" },
  { field: "unknowns", column: "unknowns" },
  { field: "fence", column: "fence" },
  { field: "notBeforeMs", column: "not_before_ms" },
  { field: "startedMs", column: "started_ms" },
  { field: "endedMs", column: "ended_ms" },
  { field: "output", column: "output", json: true },
  { field: "error", column: "error", json: true },
  { field: "reason", column: "reason" },
  { field: "waits", column: "waits" },
  { field: "extra", column: "extra", json: true },
];

/** Columns of `steps` after the run's number, in the order of `stepCells`. */
export const STEP_COLUMNS = `step, part, position, state, attempts, unknowns, fence, not_before_ms, started_ms, ended_ms,
  output, error, reason, waits, extra`;
/** Places in `stepCells` of what the store itself looks at. */
export const STEP_CELL = { id: 0, state: 3, fence: 6 };
export const STEP_WIDTH = 15;

export function stepCells(step: StepRow): Cell[] {
  return [
    step.stepId,
    step.part,
    step.position,
    step.state,
    step.attempts,
    step.unknowns,
    step.fence,
    step.notBeforeMs,
    step.startedMs,
    step.endedMs,
    toJson(step.output),
    toJson(step.error),
    step.reason,
    step.waits,
    toJson(step.extra),
  ];
}

export function stepFromRow(runId: string, row: SqlRow): StepRow {
  return {
    runId,
    stepId: row.step as string,
    part: row.part as StepRow["part"],
    position: row.position as number,
    state: row.state as StepRow["state"],
    waits: waitsOf(row),
    attempts: row.attempts as number,
    unknowns: row.unknowns as number,
    fence: row.fence as number,
    notBeforeMs: row.not_before_ms as number,
    startedMs: row.started_ms as number | null,
    endedMs: row.ended_ms as number | null,
    output: fromJson(row.output),
    error: fromJson(row.error) as unknown as StepError | null,
    reason: row.reason as string | null,
    extra: fromJson(row.extra) as unknown as StepExtra | null,
  };
}

/** In the first schema a step waited for its needs before its first attempt, and for a decision after it. */
function waitsOf(row: SqlRow): StepRow["waits"] {
  if (row.waits !== undefined) return row.waits as StepRow["waits"];
  if (row.state !== "waiting") return null;
  return row.attempts === 0 ? "needs" : "decision";
}

/** Cells after the run's number, in the order of the columns. */
export function attemptCells(attempt: AttemptRow): Cell[] {
  const { stepId, number, fence, state, startedMs, endedMs, error, facts } = attempt;
  const { worker = null, ended } = facts ?? {};
  return [stepId, number, fence, state, startedMs, endedMs, toJson(error), worker, toJson(ended)];
}

export function attemptFromRow(runId: string, row: SqlRow): AttemptRow {
  return {
    runId,
    stepId: row.step as string,
    number: row.number as number,
    fence: row.fence as number,
    state: row.state as AttemptRow["state"],
    startedMs: row.started_ms as number,
    endedMs: row.ended_ms as number | null,
    error: fromJson(row.error) as unknown as StepError | null,
    ...factsOf(row),
  };
}

function factsOf({ worker, ended }: SqlRow): { facts?: AttemptFacts } {
  const facts: AttemptFacts = {};
  if (typeof worker === "string") facts.worker = worker;
  if (typeof ended === "string") facts.ended = fromJson(ended) as unknown as AttemptEnd;
  return Object.keys(facts).length > 0 ? { facts } : {};
}

export const DEAD_LETTER_COLUMNS = "run, pipeline, rule, params, state, reason, errors, created_ms";

export function deadLetterCells(letter: DeadLetter): Cell[] {
  const { runId, pipeline, rule, params, state, reason, errors, createdMs } = letter;
  return [
    runId,
    pipeline,
    rule,
    JSON.stringify(params ?? null),
    state,
    reason,
    JSON.stringify(errors),
    createdMs,
  ];
}

export function deadLetterFromRow(row: SqlRow): DeadLetter {
  return {
    runId: row.run as string,
    pipeline: row.pipeline as string,
    rule: row.rule as string | null,
    params: fromJson(row.params),
    state: row.state as DeadLetter["state"],
    reason: row.reason as string,
    errors: fromJson(row.errors) as unknown as DeadLetter["errors"],
    createdMs: row.created_ms as number,
  };
}
