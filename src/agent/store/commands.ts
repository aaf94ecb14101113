import type { Json } from "../../model/json.ts";
import type { NewRun, RunChange } from "./port.ts";

/** How much history the store keeps, by count. */
export interface Retention {
  /** Rows of each lane that the hub has acknowledged: a hub restored from a backup asks for them again. */
  acknowledgedRows: number;
  /** Events that the hub holds and every output has read. */
  events: number;
  /** From here on an output that has not read them holds events back no longer. */
  maxEvents: number;
  endedRuns: number;
}

export const DEFAULT_RETENTION: Retention = {
  acknowledgedRows: 10_000,
  events: 200_000,
  maxEvents: 1_000_000,
  endedRuns: 10_000,
};

/** Arguments of the operations, as they cross to the storage thread (JSON). */
export interface OpenCommand {
  path: string;
  /** Epoch for a store that is created or salvaged by this opening. */
  newEpoch: string;
  nowMs: number;
  retention: Retention;
}

/** Five numbers an event: index in sources, index in types, time, characters of the id, characters of the body. */
export const EVENT_NUMBERS = 5;

export interface CommitEventsCommand {
  trigger: string;
  sources: string[];
  types: string[];
  /** EVENT_NUMBERS an event; ids and bodies follow each other in the operation's text. */
  events: number[];
  runs: { event: number; rule: string; firedAtMs: number; start: NewRun }[];
  /** Present when the checkpoint moves. */
  checkpoint?: { value: Json };
  recordedMs: number;
}

export type ChangeRunCommand = RunChange;

export interface AcknowledgeCommand {
  epoch: string;
  lane: number;
  segment: number;
  number: number;
  /** Hex. */
  hash: string;
}

export interface RenewEpochCommand {
  epoch: string;
  reason: string;
  held: { lane: number; segment: number; number: number }[];
  nowMs: number;
}

/** A batch as it comes from the thread: the bodies end to end in one buffer, which is handed over whole. */
export interface PackedRecords {
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
  unacknowledged: Record<string, number>;
  fileBytes: number;
}

/** What a commit did that the main side must know. */
export interface CommitSignal {
  /** It added outbox rows. */
  outbox: boolean;
  epoch: string;
}
