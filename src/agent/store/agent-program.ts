import type { Database } from "bun:sqlite";
import { statSync } from "node:fs";
import type { HashedText } from "../../model/attempt-facts.ts";
import type { Json } from "../../model/json.ts";
import { LANES } from "../../model/record.ts";
import type { FindingFilter } from "../../model/finding.ts";
import type { LaterEnd } from "../../model/schedule-later.ts";
import type { Faults } from "../../storage/faults.ts";
import { schemaVersion } from "../../storage/migrations.ts";
import type { StorageProgram } from "../../storage/storage-thread.ts";
import { TextReader } from "../../storage/text-parts.ts";
import { WriteGate } from "../../storage/write-gate.ts";
import { commitEvents } from "./commit-events.ts";
import type {
  AcknowledgeCommand,
  ChangeRunCommand,
  CommitEventsCommand,
  CommitSignal,
  CountedRows,
  DropDeadLetterCommand,
  OpenCommand,
  PackedRun,
  RenewEpochCommand,
} from "./commands.ts";
import { noteDamage } from "./damage.ts";
import { History } from "./history.ts";
import { historyStats } from "./history-stats.ts";
import { openAgentDatabase } from "./open-agent-database.ts";
import { closeSegments } from "./outbox-segments.ts";
import type { EventFilter, RunFilter, StoreFacts, StreamState } from "./port.ts";
import type { PackedCertificate } from "./receipt-rows.ts";
import { sharingReads, sharingWrites } from "./sharing-program.ts";
import { loadParts, type StoreParts } from "./store-parts.ts";
import type { TrimCommand } from "./trim-step.ts";

/** The agent's store as it runs on the storage thread. */
export function agentProgram(
  command: OpenCommand,
  faults: Faults | undefined,
  mono: () => number,
): StorageProgram {
  const gate = new WriteGate(faults);
  const { database, parts, salvage } = openAgentDatabase(command, gate);
  const { values, heads, rules, memory } = parts;
  const history = new History(database, gate, parts, command.retention, mono);
  const facts: StoreFacts = { epoch: heads.epoch, schemaVersion: schemaVersion(database), salvage };
  let told = heads.epoch;
  return {
    database,
    name: command.path,
    facts,
    writes: writesOf(parts, history),
    reads: { ...readsOf(parts, command), moveLog: () => moveLog(database) },
    labels: () => gate.labels,
    flush: () => {
      values.flush();
      heads.flush();
      rules.flush();
      memory.flush();
    },
    reload: () => {
      loadParts(parts);
      history.load();
    },
    signal: (): CommitSignal | null => {
      const full = history.outbox.full();
      if (!heads.added && heads.epoch === told && !full) return null;
      const signal = { outbox: heads.added, epoch: heads.epoch, full };
      heads.added = false;
      told = heads.epoch;
      return signal;
    },
    damaged: (reason) => noteDamage(command.path, reason),
    close: () => {
      gate.close();
      database.close(true);
    },
  };
}

function writesOf(parts: StoreParts, history: History): StorageProgram["writes"] {
  const { values, rules, runs, dead, outbox } = parts;
  return {
    commitEvents: (args: CommitEventsCommand, text: string) => commitEvents(parts, args, text),
    checkpointsOf: (args: { prefix: string; keep: string[] }) => values.checkpointsOf(args.prefix, args.keep),
    endLater: (args: { id: string; state: LaterEnd }) => parts.laters.end(args.id, args.state),
    ruleMemory: (keep: string[]) => rules.memory(keep),
    keepTexts: (texts: HashedText[]) => {
      for (const { hash, text } of texts) parts.definitions.add(hash, text);
    },
    startRuns: (starts: PackedRun[], text: string) => startRuns(parts, starts, text),
    changeRun: (change: ChangeRunCommand, text: string) => runs.change(change, text),
    editDeadLetter: (args: { runId: string; params: Json }) => dead.edit(args.runId, args.params),
    dropDeadLetter: (args: DropDeadLetterCommand, text: string) => dropDeadLetter(parts, args, text),
    setOutputCursor: (args: { output: string; n: number }) => values.setOutputCursor(args.output, args.n),
    acknowledge: (cursor: AcknowledgeCommand) => {
      outbox.acknowledge(cursor);
      if (cursor.receipt) parts.receipts.put(cursor.receipt);
    },
    keepReceiptCertificates: (certificates: PackedCertificate[]) =>
      parts.receipts.putCertificates(certificates),
    closeSegments: (lanes: number[]) => closeSegments(parts.heads, lanes),
    renewEpoch: (args: RenewEpochCommand) => outbox.renew(args),
    setSetting: (args: { key: string; value: never }) => values.setSetting(args.key, args.value),
    ...sharingWrites(parts),
    trim: (command: TrimCommand) => history.trim(command),
    probe: (args: { nowMs: number }) => values.setMeta("probed_ms", args.nowMs),
  };
}

function startRuns({ runs }: StoreParts, starts: PackedRun[], text: string): void {
  const reader = new TextReader(text);
  for (const start of starts) runs.insert(start, reader);
}

/** True when there was one; only then is its retry begun. */
function dropDeadLetter({ dead, runs }: StoreParts, args: DropDeadLetterCommand, text: string): boolean {
  if (!dead.drop(args.runId)) return false;
  if (args.retry) runs.insert(args.retry, new TextReader(text));
  return true;
}

function readsOf(parts: StoreParts, command: OpenCommand): StorageProgram["reads"] {
  const { values, events, locks, dead, rules, reads, outbox } = parts;
  return {
    checkpoint: (trigger: string) => values.checkpoint(trigger),
    event: (args: { source: string; id: string }) => events.find(args.source, args.id)?.body ?? null,
    knownEvents: (args: { source: string; ids: string[] }) => events.known(args.source, args.ids),
    events: (filter: EventFilter) => events.list(filter),
    eventsAfter: (args: { n: number; limit: number }) => events.after(args.n, args.limit),
    lastEvent: () => events.last(),
    findings: (args: { filter: FindingFilter; limit: number }) => rules.findings(args.filter, args.limit),
    finding: (id: string) => rules.finding(id),
    // As text: Bun hands a string over without walking it, a page of objects it copies one by one.
    openRuns: (args: { after: number; limit: number }) =>
      JSON.stringify(reads.openPage(args.after, args.limit)),
    run: (id: string) => reads.find(id),
    runs: (filter: RunFilter) => reads.list(filter),
    texts: (hashes: string[]) => parts.definitions.texts(hashes),
    eventsById: (id: string) => events.byId(id),
    childRuns: (runId: string) => reads.children(runId),
    lockPlaces: () => locks.all(),
    laterRuns: (keys: string[] | null) => parts.laters.waiting(keys),
    sideEffects: (sinceMinute: number) => parts.sideEffects.since(sinceMinute),
    deadLetters: (args: { limit: number; before: number | null }) => dead.list(args.limit, args.before),
    deadLetter: (runId: string) => dead.get(runId),
    outputCursor: (output: string) => values.outputCursor(output),
    streams: () => streamStates(parts),
    readBatch: (args: [number, number, number, number, number]) => outbox.read(...args),
    receipts: () => parts.receipts.all(),
    receiptCertificates: () => parts.receipts.certificates(),
    setting: (key: string) => values.setting(key),
    ...sharingReads(parts),
    counts: () => countRows(command, parts),
  };
}

/** Pages of the log into the file, now and in a small bite: else a commit does it, when there are many. */
function moveLog(database: Database): void {
  database.run("PRAGMA wal_checkpoint(PASSIVE)");
}

function streamStates(parts: StoreParts): StreamState[] {
  return parts.heads.all().map((head) => ({
    lane: head.lane,
    segment: head.segment,
    last: head.last,
    lastHash: head.lastHash.slice(),
    acknowledged: head.acknowledged,
    closed: head.state === "closed",
    firstLink: head.firstLink.slice(),
    rows: head.rows,
    bytes: head.bytes,
  }));
}

function countRows({ path, retention }: OpenCommand, parts: StoreParts): CountedRows {
  const unacknowledged: Record<string, number> = {};
  for (const [name, lane] of Object.entries(LANES)) {
    const heads = parts.heads.all().filter((head) => head.lane === lane);
    unacknowledged[name] = heads.reduce((sum, head) => sum + head.rows, 0);
  }
  const bytes = parts.heads.all().reduce((sum, head) => sum + head.bytes, 0);
  const fileBytes = ["", "-wal"]
    .map((suffix) => statSync(path + suffix, { throwIfNoEntry: false })?.size ?? 0)
    .reduce((sum, size) => sum + size, 0);
  return {
    events: parts.events.count(),
    openRuns: parts.reads.openCount(),
    deadLetters: parts.dead.count(),
    deadLettersDropped: parts.dead.dropped(),
    openFindings: parts.rules.unresolved(),
    history: historyStats(parts, retention),
    unacknowledged,
    outbox: { bytes, cap: retention.outbox, lost: parts.losses.lost() },
    fileBytes,
  };
}
