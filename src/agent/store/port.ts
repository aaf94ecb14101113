import type { CloudEvent } from "../../model/event.ts";
import type { Json } from "../../model/json.ts";
import type { PipelineDefinition } from "../../model/pipeline.ts";
import type { NewRecord, RecordBatch, StreamCursor } from "../../model/record.ts";
import type { AttemptRow, OpenRun, RunRow, StepRow } from "../../model/run.ts";

/** A run that an event starts, together with its first rows. */
export interface NewRun {
  run: RunRow;
  steps: StepRow[];
  definition: PipelineDefinition;
  records: NewRecord[];
}

/**
 * One trigger's emit: kept or refused as a whole, in one transaction with everything that follows from it
 * (DESIGN promise 1).
 */
export interface EventCommit {
  trigger: string;
  /** `body` is the JSON of the CloudEvent; the other fields are what queries need of it. */
  events: { source: string; id: string; type: string; timeMs: number; body: string }[];
  /** Runs by the index of the event that starts them; not created when that event is a duplicate. */
  runs: { event: number; rule: string; firedAtMs: number; start: NewRun }[];
  /** New checkpoint of the trigger; undefined leaves the old one. */
  checkpoint: Json | undefined;
  recordedMs: number;
}

export interface EventCommitResult {
  /** Indexes of events whose source + id the store already had. */
  duplicates: number[];
}

/** Columns of a step that a change may set; the rest stays. */
export type StepPatch = Pick<StepRow, "stepId" | "state"> &
  Partial<
    Pick<
      StepRow,
      | "attempts"
      | "unknowns"
      | "fence"
      | "notBeforeMs"
      | "startedMs"
      | "endedMs"
      | "output"
      | "error"
      | "reason"
    >
  >;

/**
 * One durable change of one run: lease, result, skip, end. Nothing of it is done unless every guard holds: the step
 * must still have this fence and state.
 */
export interface RunChange {
  runId: string;
  guards: { stepId: string; fence: number; state: StepRow["state"] }[];
  steps: StepPatch[];
  /** Steps that come into being with this change (`on_failure`). */
  newSteps?: StepRow[];
  /** Inserted, or replaced by (runId, stepId, number). */
  attempt?: AttemptRow;
  run?: Partial<Pick<RunRow, "state" | "reason" | "startedMs" | "endedMs">>;
  records: NewRecord[];
}

export interface StoreFacts {
  epoch: string;
  schemaVersion: number;
  /** Set when the file was corrupt: where it was put, and what was saved from it. */
  salvage: { movedTo: string; reason: string; salvaged: Record<string, number> } | null;
}

export interface StoreStats {
  events: number;
  openRuns: number;
  /** Rows by lane that the hub has not acknowledged. */
  unacknowledged: Record<string, number>;
  /** Commits of the store since start, and operations in them. */
  commits: number;
  operations: number;
  fileBytes: number;
}

/** A stream of this store's epoch and the rows it holds. */
export interface StreamState {
  lane: number;
  segment: number;
  /** Last number given out; 0 is none. */
  last: number;
  lastHash: Uint8Array;
  acknowledged: number;
}

/**
 * The agent's durable state behind an asynchronous port. Every method that changes something resolves after the commit
 * that holds it (group commit: concurrent calls share one transaction, each in a savepoint of its own).
 */
export interface AgentStore {
  readonly facts: StoreFacts;

  commitEvents(commit: EventCommit): Promise<EventCommitResult>;
  checkpoint(trigger: string): Promise<Json | undefined>;
  /** Wall-independent (trusted) time each rule last started a run. */
  ruleTimes(): Promise<Record<string, number>>;
  event(source: string, id: string): Promise<CloudEvent | null>;
  /** Events after `n` in commit order, oldest first. */
  eventsAfter(n: number, limit: number): Promise<{ n: number; body: string }[]>;
  lastEvent(): Promise<number>;

  /** False when a guard did not hold: somebody else has moved on, and nothing was changed. */
  changeRun(change: RunChange): Promise<boolean>;
  openRuns(): Promise<OpenRun[]>;
  run(id: string): Promise<{ run: RunRow; steps: StepRow[]; attempts: AttemptRow[] } | null>;
  runs(limit: number): Promise<RunRow[]>;

  outputCursor(output: string): Promise<number | undefined>;
  setOutputCursor(output: string, n: number): Promise<void>;

  streams(): Promise<StreamState[]>;
  /** Rows of one stream from `first` on, at most `maxRows` and about `maxBytes`; null when there is none. */
  readBatch(
    lane: number,
    segment: number,
    first: number,
    maxRows: number,
    maxBytes: number,
  ): Promise<RecordBatch | null>;
  /** Marks rows up to the cursor as held by the hub. Throws `conflict` when the cursor's hash is not ours (a fork). */
  acknowledge(cursor: StreamCursor): Promise<void>;
  /**
   * Begins a new epoch: rows that the hub does not hold go on, in order, as fresh streams. `held` is what the hub is
   * known to hold of the old epoch. Resolves with the new epoch.
   */
  renewEpoch(reason: string, held: { lane: number; segment: number; number: number }[]): Promise<string>;

  setting(key: string): Promise<Json | undefined>;
  setSetting(key: string, value: Json): Promise<void>;
  stats(): Promise<StoreStats>;

  /** Called once after each commit that added outbox rows. */
  onOutbox(listener: () => void): void;
  /** Called once when the storage thread can go on no longer (disk full, I/O error): the reason, or null when it recovered. */
  onHealth(listener: (problem: string | null) => void): void;
  close(): Promise<void>;
}
