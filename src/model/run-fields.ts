import type { PipelineDefinition, StepDefinition } from "./pipeline.ts";
import { hasEnded, RUN_STATES, type RunRow, STEP_PARTS, type StepExtra, type StepRow } from "./run.ts";

type Test = (value: unknown) => boolean;
/** What a field must be, by its name. */
type Fields<T> = Partial<Record<keyof T, Test>>;

const isText: Test = (value) => typeof value === "string";
/** What a column takes back as it was read. */
const isNumber: Test = (value) =>
  Math.abs(value as number) <= Number.MAX_SAFE_INTEGER && typeof value === "number";
const isCount: Test = (value) => Number.isSafeInteger(value) && (value as number) >= 0;
const isList: Test = Array.isArray;
const isObject: Test = (value) => typeof value === "object" && value !== null && !Array.isArray(value);
const oneOf =
  (...values: readonly unknown[]): Test =>
  (value) =>
    values.includes(value);
const orNull =
  (test: Test): Test =>
  (value) =>
    value === null || test(value);
const object =
  <T>(fields: Fields<T>): Test =>
  (value) =>
    isObject(value) && wrongField(value as T, fields) === null;
const listOf =
  (test: Test): Test =>
  (value) =>
    Array.isArray(value) && value.every(test);

/** Ended by nothing else: only what has not begun is skipped. */
const STOPS = ["cancelled", "timed_out", "failed"] as const;
const STARTERS = ["rule", "manual", "parent", "spawn", "retry", "schedule", "dispatch"] as const;
const ERROR = object({ code: isText, message: isText, retryable: oneOf(true, false) });

const RUN: Fields<RunRow> = {
  id: isText,
  pipeline: isText,
  definition: isText,
  starter: object({ kind: oneOf(...STARTERS), by: isText }),
  priority: isNumber,
  concurrencyKey: orNull(isText),
  parent: orNull(object({ run: isText, step: isText, key: isText })),
  state: oneOf(...RUN_STATES.filter((state) => !hasEnded(state))),
  stop: orNull(object({ state: oneOf(...STOPS), by: isText, reason: isText })),
  deadlineMs: orNull(isNumber),
  createdMs: isNumber,
  startedMs: orNull(isNumber),
  endedMs: oneOf(null),
};

const STEP: Fields<StepRow> = {
  stepId: isText,
  part: oneOf(...STEP_PARTS),
  position: isCount,
  state: oneOf(...RUN_STATES),
  waits: oneOf(null, "needs", "approval", "decision", "lock"),
  attempts: isCount,
  unknowns: isCount,
  fence: isCount,
  notBeforeMs: isNumber,
  startedMs: orNull(isNumber),
  endedMs: orNull(isNumber),
  error: orNull(ERROR),
  extra: orNull(isObject),
};

/** Of a definition that a row carries itself: those of the pipeline are known by their hash. */
const DEFINITION: Fields<StepDefinition> = {
  id: isText,
  work: oneOf("action", "pipeline", "approval"),
  action: isText,
  needs: listOf(isText),
  when: orNull(isText),
  foreach: orNull(isObject),
  with: isObject,
  timeoutMs: isNumber,
  deadlineMs: orNull(isNumber),
  retry: object({ attempts: isCount, kind: isText, initialMs: isNumber, maxMs: isNumber }),
  effect: oneOf("idempotent", "at-most-once", "ask"),
  undo: orNull(isObject),
  exclusive: orNull(isObject),
  breaker: orNull(isObject),
  approval: orNull(isObject),
};

/** Each may be left out. */
const EXTRA: Fields<StepExtra> = {
  foreach: object({ step: isText, index: isCount }),
  addedBy: object({ step: isText, attempt: isCount }),
  undoes: isText,
  definition: object(DEFINITION),
  child: isText,
  deadlineMs: isNumber,
  added: isCount,
  order: isNumber,
  errors: listOf(object({ attempt: isCount, atMs: isNumber, error: ERROR })),
  approval: object({ text: isText, approvers: listOf(isText), strict: oneOf(true, false) }),
  decisions: isList,
};

/** A field of an open run's rows that holds what nobody writes there; null when there is none. */
export function fieldProblem(
  run: RunRow,
  steps: StepRow[],
  { onFailure }: PipelineDefinition,
): string | null {
  if (!Array.isArray(onFailure)) return "its definition is none";
  const ofRun = wrongField(run, RUN);
  if (ofRun !== null) return `its ${ofRun} is none`;
  for (const row of steps) {
    const wrong = wrongField(row, STEP) ?? wrongExtra(row.extra ?? {});
    if (wrong !== null) return `step ${row.stepId}: its ${wrong} is none`;
  }
  return null;
}

function wrongExtra(extra: StepExtra): string | null {
  for (const [name, value] of Object.entries(extra)) {
    const test = EXTRA[name as keyof StepExtra];
    // One that is not known was written by a newer version.
    if (value !== undefined && test !== undefined && !test(value)) return name;
  }
  return null;
}

function wrongField<T>(value: T, fields: Fields<T>): string | null {
  for (const name of Object.keys(fields) as (keyof T & string)[])
    if (!fields[name]!(value[name])) return name;
  return null;
}
