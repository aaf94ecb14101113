import type { CloudEvent } from "./event.ts";
import type { Json } from "./json.ts";
import type { PipelineDefinition } from "./pipeline.ts";

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

/** Times are Unix milliseconds by the host's wall clock, for display. */
export interface RunRow {
  id: string;
  pipeline: string;
  /** Content hash of the pipeline version that this run executes. */
  definition: string;
  rule: string | null;
  eventSource: string | null;
  eventId: string | null;
  params: Json;
  state: RunState;
  reason: string | null;
  createdMs: number;
  startedMs: number | null;
  endedMs: number | null;
}

export interface StepRow {
  runId: string;
  stepId: string;
  /** `steps` or `on_failure`. */
  part: "steps" | "on_failure";
  /** Place in the definition. */
  position: number;
  state: RunState;
  /** Attempts begun so far. */
  attempts: number;
  /** Attempts among them whose outcome is unknown. */
  unknowns: number;
  /** Fencing token: raised by each lease; a result with an older one is refused. */
  fence: number;
  /** Wall time before which a retry must not start; 0 is at once. */
  notBeforeMs: number;
  startedMs: number | null;
  endedMs: number | null;
  output: Json;
  error: StepError | null;
  /** Why the step waits or was skipped. */
  reason: string | null;
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
