import type { Json } from "./json.ts";
import type { PipelineDefinition } from "./pipeline.ts";
import type { NewRecord } from "./record.ts";
import type { AttemptRow, ParentStep, RunRow, Starter, StepRow } from "./run.ts";
import { runRecord } from "./run-records.ts";
import { firstRows } from "./run-rows.ts";

/** A run as it comes into being: its rows, its pipeline version and what the hub is told of it. */
export interface NewRun {
  run: RunRow;
  steps: StepRow[];
  definition: PipelineDefinition;
  records: NewRecord[];
  /** It comes into being with its first attempt leased: the rows and records say so already. */
  lease?: FirstLease;
}

/** What goes with the lease of an attempt beside the rows. */
export interface FirstLease {
  attempt: AttemptRow;
  /** The attempt is one more of this minute of trusted time. */
  sideEffect?: { minute: number; pipeline: string };
}

/** All that is stored when a run comes into being, but for the definition's hash, which the caller knows. */
export function newRun(options: {
  id: string;
  definition: PipelineDefinition;
  definitionHash: string;
  rule: string | null;
  starter: Starter;
  event: { source: string; id: string } | null;
  params: Json;
  /** Default: the pipeline's. */
  priority?: number;
  concurrencyKey?: string | null;
  parent?: ParentStep | null;
  retryOf?: string | null;
  config?: string | undefined;
  createdMs: number;
}): NewRun {
  const { definition, event } = options;
  const run: RunRow = {
    id: options.id,
    pipeline: definition.name,
    definition: options.definitionHash,
    rule: options.rule,
    starter: options.starter,
    eventSource: event?.source ?? null,
    eventId: event?.id ?? null,
    params: options.params,
    priority: options.priority ?? definition.priority,
    concurrencyKey: options.concurrencyKey ?? null,
    parent: options.parent ?? null,
    retryOf: options.retryOf ?? null,
    state: "queued",
    reason: null,
    stop: null,
    deadlineMs: null,
    output: null,
    createdMs: options.createdMs,
    startedMs: null,
    endedMs: null,
    ...(options.config === undefined ? {} : { config: options.config }),
  };
  const steps = firstRows(run.id, definition.steps);
  return { run, steps, definition, records: [runRecord(run, definition)] };
}
