import type { StepPart } from "./run.ts";

/**
 * What goes up to the hub: rows of a stream (agent, epoch, lane, segment), numbered without gaps and chained by hash
 * (DESIGN promise 3). Numbers are wire values: never reuse one.
 */
export const LANES = { results: 1, events: 2, bulk: 3 } as const;
export type Lane = keyof typeof LANES;
export type LaneNumber = (typeof LANES)[Lane];

/** Classes of a record. 4 finding, 5 audit, 6 dispatch, 7 metric and 8 log are kept for later. */
export const RECORD_CLASSES = { event: 1, run: 2, step: 3, loss: 9 } as const;
export type RecordClass = keyof typeof RECORD_CLASSES;
export type RecordClassNumber = (typeof RECORD_CLASSES)[RecordClass];

/** A row on its way into a lane; the store gives it its number and hash as it commits. Body: UTF-8 JSON. */
export interface NewRecord {
  lane: LaneNumber;
  class: RecordClassNumber;
  body: string;
}

/** A committed row of one stream. */
export interface StreamRecord {
  number: number;
  class: number;
  body: Uint8Array;
}

/** A contiguous run of one stream's rows. `prevHash` is the hash of row first-1 (32 zero bytes before row 1 of segment 1). */
export interface RecordBatch {
  epoch: string;
  lane: number;
  segment: number;
  first: number;
  prevHash: Uint8Array;
  lastHash: Uint8Array;
  records: StreamRecord[];
}

/** How far one stream is committed, on either side. */
export interface StreamCursor {
  epoch: string;
  lane: number;
  segment: number;
  /** Last committed number; 0 is none. */
  number: number;
  /** Hash of that row; the segment's first link when number is 0. */
  hash: Uint8Array;
}

export const ZERO_HASH: Uint8Array = new Uint8Array(32);

/**
 * No row of a stream is sent whose number is further beyond the one that the agent's store has as acknowledged, and no row
 * within it becomes part of a loss record: what the hub may already hold is never told as lost.
 */
export const SENT_AHEAD = 8192;

/** Body of a `run` record: the run as it stands after the change that wrote it. Times: Unix ms, agent's wall clock. */
export interface RunRecordBody {
  id: string;
  pipeline: string;
  rule: string | null;
  event: { source: string; id: string } | null;
  state: string;
  reason: string | null;
  createdMs: number;
  startedMs: number | null;
  endedMs: number | null;
  /** Absent in records of the first versions, like the three below. */
  starter?: { kind: string; by: string };
  parent?: { run: string; step: string } | null;
  retryOf?: string | null;
  output?: unknown;
  /** Declared steps of all parts. */
  steps: { id: string; action: string; needs: string[]; part: StepPart; effect: string; work?: string }[];
}

/** Where a step comes from that the pipeline does not declare: one element of a `foreach`, another step, an undo. */
export interface StepOrigin {
  foreach?: { step: string; index: number };
  addedBy?: string;
  undoes?: string;
}

/** Body of a `step` record: the step as it stands after the change that wrote it. */
export interface StepRecordBody {
  run: string;
  step: string;
  action: string;
  state: string;
  attempts: number;
  key: string;
  startedMs: number | null;
  endedMs: number | null;
  output: unknown;
  error: { message: string; code: string; retryable: boolean; started: boolean } | null;
  reason: string | null;
  /** Absent in records of the first versions. */
  part?: StepPart;
  /** While it is `waiting`: what for. */
  waits?: string;
  /** Run that a `pipeline` step began. */
  child?: string;
  /** With what the run record does not say of such a step. */
  origin?: StepOrigin & { needs: string[]; effect: string };
}

/**
 * Body of a `loss` record: rows that are gone, in their place. It stands for the numbers `first` to `last`; the row after
 * it follows `lastHash`. Its body is not part of the chain: the signature of the agent's certificate key vouches for it.
 */
export interface LossRecordBody {
  first: number;
  last: number;
  /** How many rows of which class, by the class's number. */
  counts: Record<string, number>;
  /** Hash of row first-1 and of row last, lower-case hex. */
  prevHash: string;
  lastHash: string;
  /** `cap`: the outbox was over its bound. `damaged`: the rows could not be read any more. */
  reason: "cap" | "damaged";
  /** Unix ms by the agent's trusted clock. */
  atMs: number;
  /**
   * ECDSA P-256 with SHA-256 by the agent's certificate key over `lossText`, r then s, base64. Made as it is sent; rows at
   * rest have none.
   */
  signature?: string;
}

/** What the signature of a loss record covers, UTF-8. */
export function lossText(
  stream: { agent: string; epoch: string; lane: number; segment: number },
  loss: LossRecordBody,
): string {
  const counts = Object.entries(loss.counts)
    .sort(([a], [b]) => Number(a) - Number(b))
    .map(([recordClass, count]) => `${recordClass}:${count}`)
    .join(",");
  const { agent, epoch, lane, segment } = stream;
  const lines = ["holdfast loss v1", agent, epoch, lane, segment, loss.first, loss.last];
  return [...lines, loss.prevHash, loss.lastHash, counts, loss.reason, loss.atMs].join("\n");
}

/** The hub's signature that it has committed a stream up to a cursor. */
export interface StreamReceipt {
  /** Id of the hub. */
  hub: string;
  /** Serial of the receipt certificate, lower-case hex. */
  key: string;
  /** Unix ms by the hub's trusted clock. */
  atMs: number;
  /** r then s, 32 bytes each. */
  signature: Uint8Array;
}

/** The newest receipt of a stream, as an agent keeps it. */
export interface KeptReceipt {
  cursor: StreamCursor;
  receipt: StreamReceipt;
}

/** What the signature of a receipt covers, UTF-8: the hub has committed this agent's stream up to the cursor. */
export function receiptText(hub: string, agent: string, cursor: StreamCursor, atMs: number): string {
  const { epoch, lane, segment, number, hash } = cursor;
  const hex = Buffer.from(hash).toString("hex");
  return ["holdfast receipt v1", hub, agent, epoch, lane, segment, number, hex, atMs].join("\n");
}
