import type { Json } from "../../model/json.ts";
import type { RuleChanges } from "../../model/rule.ts";
import type { RunRow, StepRow } from "../../model/run.ts";
import type { LaterEnd, LaterRun } from "../../model/schedule-later.ts";
import type { PackedUpdate } from "../../storage/column-updates.ts";
import type { Cell } from "../../storage/write-gate.ts";
import type { PackedReceipt } from "./receipt-rows.ts";
import type { HistoryStats, Retention } from "./retention.ts";

/** Arguments of the operations, as they cross to the storage thread (JSON). */
export interface OpenCommand {
  path: string;
  /** Epoch for a store that is created or salvaged by this opening. */
  newEpoch: string;
  nowMs: number;
  trustedMs: number;
  retention: Retention;
}

/** Five numbers an event: index in sources, index in types, time, characters of the id, characters of the body. */
export const EVENT_NUMBERS = 5;

/** Three numbers a record: lane, class, characters of the body. Bodies follow each other in the operation's text. */
export type PackedRecords = number[];

/** A run as it crosses to the thread, its cells in the order of the columns (run-columns.ts). */
export interface PackedRun {
  run: Cell[];
  steps: Cell[][];
  records: PackedRecords;
  /** JSON; left out when the store is known to have this version. */
  definition?: string;
  /** Its first attempt; the cells are those of `ChangeRunCommand`. */
  lease?: { attempt: Cell[]; sideEffect?: { minute: number; pipeline: string } };
}

export interface CommitEventsCommand {
  trigger: string;
  sources: string[];
  types: string[];
  /** EVENT_NUMBERS an event; ids and bodies follow each other in the operation's text, the runs' records come after. */
  events: number[];
  runs: { event: number; start: PackedRun }[];
  rules?: RuleChanges;
  /** Present when the checkpoint moves. */
  checkpoint?: { value: Json };
  /** A run that was put off, and ends with this commit. */
  later?: { id: string; state: LaterEnd };
  recordedMs: number;
}

export interface ChangeRunCommand {
  runId: string;
  guards: { stepId: string; fence: number; state: StepRow["state"] }[];
  steps: { id: string; update: PackedUpdate; state: StepRow["state"]; fence?: number }[];
  newSteps?: Cell[][];
  removedSteps?: string[];
  newRuns?: PackedRun[];
  newLaters?: LaterRun[];
  /** Namespace and name. */
  lock?: [string, string];
  unlock?: boolean;
  dead?: Cell[];
  sideEffect?: { minute: number; pipeline: string };
  /** Cells after the run's number, in the order of the columns. */
  attempt?: Cell[];
  run?: { update: PackedUpdate; ended: boolean };
  records: PackedRecords;
}

export interface DropDeadLetterCommand {
  runId: string;
  retry?: PackedRun;
}

/** One page of open runs; the versions of pipelines and the events by what the runs refer to. */
export interface OpenRunsPage {
  runs: { run: RunRow; steps: StepRow[]; event: string | null }[];
  definitions: Record<string, string>;
  /** Number to go on after; null when this was the last page. */
  next: number | null;
}

/** The value's JSON is the operation's text. */
export interface MemoryPutCommand {
  namespace: string;
  key: string;
  expiresMs: number | null;
  nowMs: number;
  token: number | null;
}

export interface MemoryDeleteCommand {
  namespace: string;
  key: string;
  nowMs: number;
  token: number | null;
}

export interface MemoryCheckoutCommand {
  namespace: string;
  key: string;
  nowMs: number;
}

export interface AcknowledgeCommand {
  epoch: string;
  lane: number;
  segment: number;
  number: number;
  /** Hex. */
  hash: string;
  /** The hub's signature of it. */
  receipt?: PackedReceipt;
}

export interface RenewEpochCommand {
  epoch: string;
  reason: string;
  held: { lane: number; segment: number; number: number }[];
  nowMs: number;
}

/** A batch as it comes from the thread: the bodies end to end in one buffer, which is handed over whole. */
export interface PackedBatch {
  epoch: string;
  lane: number;
  segment: number;
  first: number;
  prevHash: Uint8Array;
  lastHash: Uint8Array;
  classes: number[];
  /** Bytes of each body. */
  lengths: number[];
  bytes: Uint8Array;
}

export interface CountedRows {
  events: number;
  openRuns: number;
  deadLetters: number;
  /** Dead letters that were dropped because there were too many. */
  deadLettersDropped: number;
  openFindings: number;
  unacknowledged: Record<string, number>;
  fileBytes: number;
  history: HistoryStats;
}

/** What a commit did that the main side must know. */
export interface CommitSignal {
  /** It added outbox rows. */
  outbox: boolean;
  epoch: string;
}
