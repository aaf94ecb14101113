import type { AttemptFacts } from "./attempt-facts.ts";
import type { CloudEvent } from "./event.ts";
import type { Json } from "./json.ts";
import type { PipelineDefinition, StepDefinition } from "./pipeline.ts";

/** States of runs and steps (DESIGN section 4). */
export const RUN_STATES = [
  "queued",
  "waiting",
  "running",
  "succeeded",
  "failed",
  "timed_out",
  "cancelled",
  "skipped",
  "uncertain",
  "dead",
] as const;
export type RunState = (typeof RUN_STATES)[number];

const ENDED: ReadonlySet<RunState> = new Set([
  "succeeded",
  "failed",
  "timed_out",
  "cancelled",
  "skipped",
  "uncertain",
  "dead",
]);

export function hasEnded(state: RunState): boolean {
  return ENDED.has(state);
}

/** How one attempt of a step ended. `unknown`: no result came back, so nobody can say what happened. */
export type AttemptState = "running" | "succeeded" | "failed" | "unknown";

/** Why an attempt gave no success. `started: false` means the action vouches that nothing was done. */
export interface StepError {
  message: string;
  /** `failed`, `timed_out`, `denied`, `not_found`, `crashed`, `interrupted` … */
  code: string;
  retryable: boolean;
  started: boolean;
}

/** Who or what started a run. `by`: rule name, `local:<uid>`, or id of the other run. */
export interface Starter {
  kind: "rule" | "manual" | "parent" | "spawn" | "retry" | "schedule" | "dispatch";
  by: string;
}

/** The step of another run that a run belongs to. `key` is unique: the same spawn asked for twice is one run. */
export interface ParentStep {
  run: string;
  step: string;
  key: string;
}

/**
 * Why and by whom a run is being ended early: a person, its deadline, or a lock that was taken. `skipped` is only for a
 * run that has not begun: nothing of it ran.
 */
export interface RunStop {
  state: "cancelled" | "timed_out" | "failed" | "skipped";
  by: string;
  reason: string;
}

/** Times are Unix milliseconds by the host's wall clock, for display, but for `deadlineMs`. */
export interface RunRow {
  id: string;
  pipeline: string;
  /** Content hash of the pipeline version that this run executes. */
  definition: string;
  rule: string | null;
  starter: Starter;
  eventSource: string | null;
  eventId: string | null;
  params: Json;
  priority: number;
  /** Resolved `concurrencyByKey`. */
  concurrencyKey: string | null;
  parent: ParentStep | null;
  /** Run that this one repeats. */
  retryOf: string | null;
  state: RunState;
  reason: string | null;
  /** Set when the run is to end early: no step of `steps` begins any more. */
  stop: RunStop | null;
  /** Trusted milliseconds; set when the run begins. */
  deadlineMs: number | null;
  output: Json;
  createdMs: number;
  startedMs: number | null;
  endedMs: number | null;
  /** Hash of the configuration in force when it was made (`ConfigOrigin`); absent in runs of older versions. */
  config?: string;
}

/** In the order in which they run: `undo` and `finally` and `on_failure` begin when all of the one before have ended. */
export const STEP_PARTS = ["steps", "undo", "finally", "on_failure"] as const;
export type StepPart = (typeof STEP_PARTS)[number];

/** What a step in the state `waiting` waits for. `decision`: its outcome is unknown, and a person must say what it was. */
export type StepWait = "needs" | "approval" | "decision" | "lock";

/** What only some steps have; null for a plain one. */
export interface StepExtra {
  /** Of an item: the step whose `foreach` made it. */
  foreach?: { step: string; index: number; value: Json };
  /** Step that added this one while it ran, and in which attempt. */
  addedBy?: { step: string; attempt: number };
  /** Of an `undo` step: the step that it takes back. */
  undoes?: string;
  /** Definition of a step that the pipeline's does not have. */
  definition?: StepDefinition;
  /** Run that a `pipeline` step began. */
  child?: string;
  /** Trusted milliseconds by which the step must have ended. */
  deadlineMs?: number;
  /** Why it was skipped: only by its own `when` do others that need it go on. `stop`: also what a stop cut short. */
  skip?: "when" | "need" | "stop";
  /** What the current attempt has asked for so far, spawned runs included. */
  added?: number;
  /** Of a step that can be undone: how many of those had ended before it. Clocks may jump; this does not. */
  order?: number;
  /** Errors of attempts that were followed by another one, oldest first. */
  errors?: { attempt: number; atMs: number; error: StepError }[];
  /** Text of an approval, who answered it and what was said. */
  approval?: { text: string; approvers: string[]; strict: boolean; by?: string; note?: string };
  /** What people said of attempts whose outcome was unknown, oldest first. */
  decisions?: { by: string; approve: boolean; note: string; atMs: number }[];
}

export interface StepRow {
  runId: string;
  /** Id in the definition; of an item `id[3]`, of an added one `id+1` (after the step that added it), of an undo `id~undo`. */
  stepId: string;
  part: StepPart;
  /** Order within the part. */
  position: number;
  state: RunState;
  /** Set while the state is `waiting`. */
  waits: StepWait | null;
  /** Attempts begun so far. */
  attempts: number;
  /** Attempts among them whose outcome is unknown. */
  unknowns: number;
  /** Fencing token: raised by each lease; a result with an older one is refused. */
  fence: number;
  /** Trusted time before which a retry must not start; 0 is at once. */
  notBeforeMs: number;
  startedMs: number | null;
  endedMs: number | null;
  output: Json;
  error: StepError | null;
  /** Why the step waits or was skipped. */
  reason: string | null;
  extra: StepExtra | null;
}

export interface AttemptRow {
  runId: string;
  stepId: string;
  number: number;
  fence: number;
  state: AttemptState;
  startedMs: number;
  endedMs: number | null;
  error: StepError | null;
  /** Absent where nothing was recorded: it has not ended, or the agent was killed meanwhile. */
  facts?: AttemptFacts;
}

/** An open run with all that is needed to go on with it. */
export interface OpenRun {
  run: RunRow;
  steps: StepRow[];
  definition: PipelineDefinition;
  event: CloudEvent | null;
}

/** The idempotency key of a step: stable over attempts, handed to the action. */
export function stepKey(runId: string, stepId: string): string {
  return `${runId}/${stepId}`;
}

/** A place in the queue of a lock: the run with the lowest `n` holds it. One place a run and lock. */
export interface LockPlace {
  n: number;
  namespace: string;
  lock: string;
  runId: string;
}

/** A run that ended badly, set aside: it can be looked at, edited, run again or dropped. */
export interface DeadLetter {
  runId: string;
  pipeline: string;
  rule: string | null;
  /** Parameters of the next try; `edit` changes them. */
  params: Json;
  state: RunState;
  reason: string;
  /** Every error of every attempt, oldest first; at most 100. */
  errors: { step: string; attempt: number; atMs: number; error: StepError }[];
  createdMs: number;
}
