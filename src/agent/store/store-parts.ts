import type { Database } from "bun:sqlite";
import type { WriteGate } from "../../storage/write-gate.ts";
import { DeadLetters } from "./dead-letters.ts";
import { DefinitionRows } from "./definition-rows.ts";
import { EventRows } from "./event-rows.ts";
import { KeyValues } from "./key-values.ts";
import { LaterRows } from "./later-rows.ts";
import { LockPlaces } from "./lock-places.ts";
import { MemoryReads } from "./memory-reads.ts";
import { MemoryRows } from "./memory-rows.ts";
import { OutboxLosses } from "./outbox-losses.ts";
import { OutboxRows } from "./outbox-rows.ts";
import { ParameterRows } from "./parameter-rows.ts";
import { RuleRows } from "./rule-rows.ts";
import { SecretRows } from "./secret-rows.ts";
import { ReceiptRows } from "./receipt-rows.ts";
import { SilenceRows } from "./silence-rows.ts";
import { SideEffectRows } from "./side-effect-rows.ts";
import { RunReads } from "./run-reads.ts";
import { RunRows } from "./run-rows.ts";
import { HistoryMarks } from "./history-marks.ts";
import type { StoreTime } from "./store-time.ts";
import { TrimCounts } from "./trim-counts.ts";
import { StreamHeads } from "./stream-heads.ts";

/** The tables of one open store, each with its statements. */
export interface StoreParts {
  time: StoreTime;
  marks: HistoryMarks;
  trimCounts: TrimCounts;
  values: KeyValues;
  heads: StreamHeads;
  events: EventRows;
  definitions: DefinitionRows;
  locks: LockPlaces;
  laters: LaterRows;
  sideEffects: SideEffectRows;
  dead: DeadLetters;
  rules: RuleRows;
  runs: RunRows;
  reads: RunReads;
  outbox: OutboxRows;
  losses: OutboxLosses;
  receipts: ReceiptRows;
  memory: MemoryRows;
  memoryReads: MemoryReads;
  parameters: ParameterRows;
  secrets: SecretRows;
  silences: SilenceRows;
}

export function storeParts(database: Database, gate: WriteGate): StoreParts {
  const values = new KeyValues(database, gate);
  const heads = new StreamHeads(database, gate);
  const time: StoreTime = { trustedMs: 0 };
  const marks = new HistoryMarks(database, gate);
  const trimCounts = new TrimCounts(values);
  const events = new EventRows(database, gate, heads, values);
  const definitions = new DefinitionRows(database, gate);
  const locks = new LockPlaces(database, gate);
  const dead = new DeadLetters(database, gate, values, time);
  const rules = new RuleRows(database, gate, values, time);
  const laters = new LaterRows(database, gate);
  const sideEffects = new SideEffectRows(database, gate);
  const writers = { values, heads, events, definitions, locks, dead, laters, sideEffects };
  const runs = new RunRows(database, gate, writers);
  const reads = new RunReads(database, events, definitions);
  const outbox = new OutboxRows(database, gate, heads, values);
  const receipts = new ReceiptRows(database, gate);
  const losses = new OutboxLosses(values);
  const memory = new MemoryRows(database, gate, values);
  const memoryReads = new MemoryReads(database);
  const parameters = new ParameterRows(database, gate);
  const secrets = new SecretRows(database, gate);
  const silences = new SilenceRows(database, gate);
  return {
    ...{ time, marks, trimCounts },
    ...{ values, heads, events, definitions, locks, dead, rules, runs, reads, outbox, losses, receipts },
    ...{ laters, sideEffects, memory, memoryReads, parameters, secrets, silences },
  };
}

/** The first rows of a new store. */
export function createStore(
  database: Database,
  parts: StoreParts,
  created: { epoch: string; reason: string; nowMs: number },
): void {
  parts.values.setMeta("epoch", created.epoch);
  parts.values.setMeta("created_ms", created.nowMs);
  database
    .query("INSERT INTO epochs (epoch, reason, began_ms) VALUES (?, ?, ?)")
    .run(created.epoch, created.reason, created.nowMs);
}

export function loadParts(parts: StoreParts): void {
  parts.values.load();
  parts.heads.load();
  parts.events.load();
  parts.definitions.load();
  parts.runs.load();
  parts.rules.load();
  parts.dead.load();
  parts.marks.load();
  parts.trimCounts.load();
  parts.memory.load();
  parts.losses.load();
}
