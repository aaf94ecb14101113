import type { HashedText } from "../../model/attempt-facts.ts";
import type { CloudEvent } from "../../model/event.ts";
import type { FindingFilter } from "../../model/finding.ts";
import type { Json } from "../../model/json.ts";
import type { PipelineDefinition } from "../../model/pipeline.ts";
import type { NewRecord, RecordBatch, StreamCursor, StreamReceipt } from "../../model/record.ts";
import type { FindingRow, RuleChanges, RuleMemory } from "../../model/rule.ts";
import type { NewRun } from "../../model/run-build.ts";
import type {
  AttemptRow,
  DeadLetter,
  LockPlace,
  OpenRun,
  RunRow,
  RunState,
  StepRow,
} from "../../model/run.ts";
import type { ReceiptStore } from "./receipt-port.ts";
import type { HistoryStats } from "./retention.ts";
import type { MemoryStore, ParameterStore, SecretStore, SilenceStore } from "./sharing-port.ts";
import type { LaterEnd, LaterRun } from "../../model/schedule-later.ts";

/**
 * One trigger's emit: kept or refused as a whole, in one transaction with everything that follows from it
 * (DESIGN promise 1).
 */
export interface EventCommit {
  trigger: string;
  /** `body` is the JSON of the CloudEvent; the other fields are what queries need of it. */
  events: { source: string; id: string; type: string; timeMs: number; body: string }[];
  /** Runs by the index of the event that starts them; not created when that event is a duplicate. */
  runs: { event: number; start: NewRun }[];
  /** What the rules remember of these events. */
  rules?: RuleChanges;
  /** New checkpoint of the trigger; undefined leaves the old one. */
  checkpoint: Json | undefined;
  /** A run that was put off, and ends with this commit. */
  later?: { id: string; state: LaterEnd };
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
      | "waits"
      | "extra"
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
  /** Steps that come into being with this change: of a later part, of a `foreach`, added by an action. */
  newSteps?: StepRow[];
  /** Steps that are taken out again: an attempt's additions, when the step runs once more. */
  removedSteps?: string[];
  /** Runs that this step starts. One whose parent key the store already has is left out. */
  newRuns?: NewRun[];
  /** Runs that this step puts off. One whose key the store already has is left out. */
  newLaters?: LaterRun[];
  /** Puts the run at the end of a lock's queue, unless it has a place there. */
  lock?: { namespace: string; lock: string };
  /** Gives up every place of the run; set when it ends. */
  unlock?: boolean;
  /** Set when the run ends badly. */
  dead?: DeadLetter;
  /** The attempt that begins is one more of this minute of trusted time. */
  sideEffect?: { minute: number; pipeline: string };
  /** Inserted, or replaced by (runId, stepId, number). */
  attempt?: AttemptRow;
  run?: Partial<
    Pick<RunRow, "state" | "reason" | "startedMs" | "endedMs" | "stop" | "deadlineMs" | "output">
  >;
  records: NewRecord[];
}

/** Attempts of actions that the rules began in a minute of trusted time. */
export interface SideEffects {
  minute: number;
  pipeline: string;
  count: number;
}

export interface RunFilter {
  pipeline?: string;
  state?: RunState;
  /** Runs that have not ended. */
  open?: boolean;
  /** Run number to go on before; the newest first. */
  before?: number;
  limit: number;
}

export interface EventFilter {
  source?: string;
  type?: string;
  /** Row number to go on after (oldest first) or before (newest first). */
  after?: number;
  before?: number;
  limit: number;
}

/** A run with its number on this agent, which goes up by one each run and survives restarts. */
export interface NumberedRun {
  number: number;
  run: RunRow;
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
  deadLetters: number;
  /** Dead letters that had to go because there were too many, ever. */
  deadLettersDropped: number;
  openFindings: number;
  /** Rows by lane that the hub has not acknowledged. */
  unacknowledged: Record<string, number>;
  /** Commits of the store since start, and operations in them. */
  commits: number;
  operations: number;
  fileBytes: number;
  history: HistoryStats;
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
export interface AgentStore extends MemoryStore, ParameterStore, SecretStore, SilenceStore, ReceiptStore {
  readonly facts: StoreFacts;

  commitEvents(commit: EventCommit): Promise<EventCommitResult>;
  checkpoint(trigger: string): Promise<Json | undefined>;
  /** All checkpoints of triggers whose names begin so. Those that are not in `keep` are forgotten first. */
  checkpointsOf(prefix: string, keep: string[]): Promise<{ trigger: string; value: Json }[]>;
  /** Which of these events of one source the store has, by id. */
  knownEvents(source: string, ids: string[]): Promise<string[]>;
  /** What rules remember. What belongs to rules that are not in `keep` is forgotten first. */
  ruleMemory(keep: string[]): Promise<RuleMemory>;
  findings(filter: FindingFilter, limit: number): Promise<FindingRow[]>;
  /** By id, or by an unambiguous end or beginning of one (at least 4 characters). Throws `conflict` when several fit. */
  finding(id: string): Promise<FindingRow | null>;
  event(source: string, id: string): Promise<CloudEvent | null>;
  /** Events after `n` in commit order, oldest first. */
  eventsAfter(n: number, limit: number): Promise<{ n: number; body: string }[]>;
  lastEvent(): Promise<number>;
  /** Events with this id, of whatever source; the newest first, at most 16. */
  eventsById(id: string): Promise<CloudEvent[]>;

  /** Keeps what runs and attempts go back to: at least as long as this program runs, then as long as one of them refers to it. */
  keepTexts(texts: HashedText[]): Promise<void>;
  /** Those that are there, by hash. */
  texts(hashes: string[]): Promise<Record<string, string>>;

  /** Runs that no event starts: by a person, a retry. One whose parent key the store already has is left out. */
  startRuns(runs: NewRun[]): Promise<void>;
  /** False when a guard did not hold: somebody else has moved on, and nothing was changed. */
  changeRun(change: RunChange): Promise<boolean>;
  openRuns(): Promise<OpenRun[]>;
  /** By id, or by an unambiguous end or beginning of one (at least 4 characters). Throws `conflict` when several fit. */
  run(
    id: string,
  ): Promise<
    (NumberedRun & { steps: StepRow[]; attempts: AttemptRow[]; definition: PipelineDefinition }) | null
  >;
  runs(filter: RunFilter): Promise<NumberedRun[]>;
  /** Child and spawned runs of a run. */
  childRuns(runId: string): Promise<RunRow[]>;
  lockPlaces(): Promise<LockPlace[]>;
  /** Runs that are put off, in the order in which they were asked for; of certain keys or all. */
  laterRuns(keys?: string[]): Promise<LaterRun[]>;
  /** False when it had ended already. */
  endLater(id: string, state: LaterEnd): Promise<boolean>;
  /** Attempts of actions that the rules began since a minute of trusted time; what is older than an hour is gone. */
  sideEffects(sinceMinute: number): Promise<SideEffects[]>;
  /** The newest first. */
  events(filter: EventFilter): Promise<{ n: number; body: string }[]>;

  deadLetters(limit: number, before?: number): Promise<(DeadLetter & { number: number })[]>;
  deadLetter(runId: string): Promise<DeadLetter | null>;
  /** Replaces the parameters of the next try. */
  editDeadLetter(runId: string, params: Json): Promise<boolean>;
  /** Drops it; with `retry`, in the same transaction as the run that takes its place begins. */
  dropDeadLetter(runId: string, retry?: NewRun): Promise<boolean>;

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
  /** Marks rows up to the cursor as held by the hub. Throws `conflict` when the cursor's hash is not ours (a fork). Keeps the receipt. */
  acknowledge(cursor: StreamCursor, receipt?: StreamReceipt): Promise<void>;
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
