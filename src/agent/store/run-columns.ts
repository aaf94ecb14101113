import type { SQLQueryBindings } from "bun:sqlite";
import type { Json } from "../../model/json.ts";
import type { AttemptRow, RunRow, StepError, StepRow } from "../../model/run.ts";

/** A row as SQLite gives it. */
export type SqlRow = Record<string, unknown>;

/** JSON columns hold text; null is NULL. */
export function toJson(value: unknown): string | null {
  return value === null || value === undefined ? null : JSON.stringify(value);
}

export function fromJson(text: unknown): Json {
  return text === null || text === undefined ? null : (JSON.parse(text as string) as Json);
}

export function runFromRow(row: SqlRow): RunRow {
  return {
    id: row.id as string,
    pipeline: row.pipeline as string,
    definition: row.definition as string,
    rule: row.rule as string | null,
    eventSource: row.event_source as string | null,
    eventId: row.event_id as string | null,
    params: fromJson(row.params),
    state: row.state as RunRow["state"],
    reason: row.reason as string | null,
    createdMs: row.created_ms as number,
    startedMs: row.started_ms as number | null,
    endedMs: row.ended_ms as number | null,
  };
}

export function stepFromRow(runId: string, row: SqlRow): StepRow {
  return {
    runId,
    stepId: row.step as string,
    part: row.part as StepRow["part"],
    position: row.position as number,
    state: row.state as StepRow["state"],
    attempts: row.attempts as number,
    unknowns: row.unknowns as number,
    fence: row.fence as number,
    notBeforeMs: row.not_before_ms as number,
    startedMs: row.started_ms as number | null,
    endedMs: row.ended_ms as number | null,
    output: fromJson(row.output),
    error: fromJson(row.error) as unknown as StepError | null,
    reason: row.reason as string | null,
  };
}

/** Parameters of `INSERT INTO steps`, in the order of its columns. */
export function stepParams(run: number, step: StepRow): SQLQueryBindings[] {
  return [
    run,
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
  ];
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
  };
}
