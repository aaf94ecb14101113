import type { Ids } from "../../core/ids.ts";
import type { HashedText } from "../../model/attempt-facts.ts";
import type { CloudEvent } from "../../model/event.ts";
import type { Json } from "../../model/json.ts";
import type { KeptReceipt, RecordBatch, StreamCursor, StreamReceipt } from "../../model/record.ts";
import type { FindingFilter } from "../../model/finding.ts";
import type { FindingRow, RuleMemory } from "../../model/rule.ts";
import type { NewRun } from "../../model/run-build.ts";
import type { DeadLetter, LockPlace, OpenRun, RunRow } from "../../model/run.ts";
import type { LaterEnd, LaterRun } from "../../model/schedule-later.ts";
import { numbered } from "../../protocol/loss.ts";
import { TextWriter } from "../../storage/text-parts.ts";
import type {
  AcknowledgeCommand,
  CountedRows,
  DropDeadLetterCommand,
  OpenRunsPage,
  PackedBatch,
  RenewEpochCommand,
} from "./commands.ts";
import { packEvents } from "./commit-events.ts";
import { definitionOf } from "./definition-rows.ts";
import type { EventPage } from "./event-rows.ts";
import { unpackMemory } from "./pack-memory.ts";
import { RunPacker } from "./pack-runs.ts";
import {
  type KeptCertificate,
  packCertificate,
  packReceipt,
  unpackCertificate,
  unpackReceipt,
} from "./receipt-port.ts";
import type { PackedCertificate, PackedReceipt } from "./receipt-rows.ts";
import type { RunPage } from "./run-reads.ts";
import type {
  AgentStore,
  EventCommit,
  EventCommitResult,
  EventFilter,
  NumberedRun,
  RunChange,
  RunFilter,
  SideEffects,
  StoreStats,
  StreamState,
} from "./port.ts";
import { SharingStore } from "./sharing-store.ts";
import type { AgentStoreOptions } from "./store-connection.ts";

/** Open runs that cross at once: some megabytes, so that neither side is held up for long. */
const OPEN_RUNS_PAGE = 1000;

/** The main side of the agent's store; the database is on a thread of its own. */
export class ThreadedAgentStore extends SharingStore implements AgentStore {
  readonly #ids: Ids;
  readonly #wall: () => number;
  readonly #packer = new RunPacker();

  constructor(options: AgentStoreOptions) {
    super(options);
    this.#ids = options.ids;
    this.#wall = options.wall;
  }

  async commitEvents(commit: EventCommit): Promise<EventCommitResult> {
    const { command, text } = packEvents(commit, this.#packer);
    const duplicates = await this.client.write<number[]>("commitEvents", command, text);
    for (const { start } of commit.runs) this.#packer.acknowledged(start);
    return { duplicates };
  }

  async checkpoint(trigger: string): Promise<Json | undefined> {
    return await this.client.read("checkpoint", trigger);
  }

  async checkpointsOf(prefix: string, keep: string[]): Promise<{ trigger: string; value: Json }[]> {
    return await this.client.write("checkpointsOf", { prefix, keep });
  }

  async knownEvents(source: string, ids: string[]): Promise<string[]> {
    return await this.client.read("knownEvents", { source, ids });
  }

  async ruleMemory(keep: string[]): Promise<RuleMemory> {
    return unpackMemory(await this.client.write<string>("ruleMemory", keep));
  }

  async findings(filter: FindingFilter, limit: number): Promise<FindingRow[]> {
    return await this.client.read("findings", { filter, limit });
  }

  async finding(id: string): Promise<FindingRow | null> {
    return await this.client.read("finding", id);
  }

  async event(source: string, id: string): Promise<CloudEvent | null> {
    const body = await this.client.read<string | null>("event", { source, id });
    return body === null ? null : (JSON.parse(body) as CloudEvent);
  }

  async events(filter: EventFilter): Promise<{ n: number; body: string }[]> {
    const found: EventPage["events"] = [];
    for (let rest: EventFilter | null = filter; rest !== null;) {
      const page: EventPage = await this.client.read("events", rest);
      found.push(...page.events);
      rest = page.next;
    }
    return found;
  }

  async eventsAfter(n: number, limit: number): Promise<{ n: number; body: string }[]> {
    return await this.client.read("eventsAfter", { n, limit });
  }

  async lastEvent(): Promise<number> {
    return await this.client.read("lastEvent");
  }

  async keepTexts(texts: HashedText[]): Promise<void> {
    await this.client.write("keepTexts", texts);
  }

  async texts(hashes: string[]): Promise<Record<string, string>> {
    return await this.client.read("texts", hashes);
  }

  async eventsById(id: string): Promise<CloudEvent[]> {
    const rows = await this.client.read<{ body: string }[]>("eventsById", id);
    return rows.map(({ body }) => JSON.parse(body) as CloudEvent);
  }

  async startRuns(runs: NewRun[]): Promise<void> {
    const text = new TextWriter();
    const packed = runs.map((start) => this.#packer.run(start, text));
    await this.client.write("startRuns", packed, text.toString());
    for (const start of runs) this.#packer.acknowledged(start);
  }

  async changeRun(change: RunChange): Promise<boolean> {
    const text = new TextWriter();
    const packed = this.#packer.change(change, text);
    const done = await this.client.write<boolean>("changeRun", packed, text.toString());
    if (done) for (const start of change.newRuns ?? []) this.#packer.acknowledged(start);
    return done;
  }

  async openRuns(): Promise<OpenRun[]> {
    const open: OpenRun[] = [];
    const versions = new Map<string, OpenRun["definition"]>();
    for (let after: number | null = 0; after !== null;) {
      const text: string = await this.client.read("openRuns", { after, limit: OPEN_RUNS_PAGE });
      const page = JSON.parse(text) as OpenRunsPage;
      for (const [hash, body] of Object.entries(page.definitions))
        if (!versions.has(hash)) versions.set(hash, definitionOf(body));
      for (const { run, steps, event } of page.runs) {
        const definition = versions.get(run.definition)!;
        open.push({ run, steps, definition, event: event === null ? null : JSON.parse(event) });
      }
      after = page.next;
    }
    return open;
  }

  async run(id: string): ReturnType<AgentStore["run"]> {
    return await this.client.read("run", id);
  }

  async runs(filter: RunFilter): Promise<NumberedRun[]> {
    const found: NumberedRun[] = [];
    for (let rest: RunFilter | null = filter; rest !== null;) {
      const page: RunPage = await this.client.read("runs", rest);
      found.push(...page.runs);
      rest = page.next;
    }
    return found;
  }

  async childRuns(runId: string): Promise<RunRow[]> {
    return await this.client.read("childRuns", runId);
  }

  async laterRuns(keys?: string[]): Promise<LaterRun[]> {
    return await this.client.read("laterRuns", keys ?? null);
  }

  async endLater(id: string, state: LaterEnd): Promise<boolean> {
    return await this.client.write("endLater", { id, state });
  }

  async lockPlaces(): Promise<LockPlace[]> {
    return await this.client.read("lockPlaces");
  }

  async sideEffects(sinceMinute: number): Promise<SideEffects[]> {
    return await this.client.read("sideEffects", sinceMinute);
  }

  async deadLetters(limit: number, before?: number): Promise<(DeadLetter & { number: number })[]> {
    return await this.client.read("deadLetters", { limit, before: before ?? null });
  }

  async deadLetter(runId: string): Promise<DeadLetter | null> {
    return await this.client.read("deadLetter", runId);
  }

  async editDeadLetter(runId: string, params: Json): Promise<boolean> {
    return await this.client.write("editDeadLetter", { runId, params });
  }

  async dropDeadLetter(runId: string, retry?: NewRun): Promise<boolean> {
    const text = new TextWriter();
    const command: DropDeadLetterCommand = { runId };
    if (retry) command.retry = this.#packer.run(retry, text);
    const done = await this.client.write<boolean>("dropDeadLetter", command, text.toString());
    if (done && retry) this.#packer.acknowledged(retry);
    return done;
  }

  async outputCursor(output: string): Promise<number | undefined> {
    return await this.client.read("outputCursor", output);
  }

  async setOutputCursor(output: string, n: number): Promise<void> {
    await this.client.write("setOutputCursor", { output, n });
  }

  async streams(): Promise<StreamState[]> {
    return await this.client.read("streams");
  }

  /** Throws `not_found` for a first row that was trimmed, `corrupt` for rows whose bytes contradict their hash. */
  async readBatch(
    lane: number,
    segment: number,
    first: number,
    maxRows: number,
    maxBytes: number,
  ): Promise<RecordBatch | null> {
    const args = [lane, segment, first, maxRows, maxBytes];
    const packed = await this.client.read<PackedBatch | null>("readBatch", args);
    return packed && unpackRecords(packed);
  }

  async acknowledge(cursor: StreamCursor, receipt?: StreamReceipt): Promise<void> {
    const hash = Buffer.from(cursor.hash).toString("hex");
    const command: AcknowledgeCommand = { ...cursor, hash };
    if (receipt) command.receipt = packReceipt(cursor, receipt);
    await this.client.write("acknowledge", command);
    void this.trim();
  }

  async receipts(): Promise<KeptReceipt[]> {
    return (await this.client.read<PackedReceipt[]>("receipts")).map(unpackReceipt);
  }

  async receiptCertificates(): Promise<KeptCertificate[]> {
    return (await this.client.read<PackedCertificate[]>("receiptCertificates")).map(unpackCertificate);
  }

  async keepReceiptCertificates(certificates: KeptCertificate[]): Promise<void> {
    await this.client.write("keepReceiptCertificates", certificates.map(packCertificate));
  }

  async closeSegments(lanes: number[]): Promise<number[]> {
    return await this.client.write("closeSegments", lanes);
  }

  async renewEpoch(
    reason: string,
    held: { lane: number; segment: number; number: number }[],
  ): Promise<string> {
    const epoch = this.#ids.hex(16);
    const command: RenewEpochCommand = { epoch, reason, held, nowMs: this.#wall() };
    await this.client.write("renewEpoch", command);
    return epoch;
  }

  async setting(key: string): Promise<Json | undefined> {
    return await this.client.read("setting", key);
  }

  async setSetting(key: string, value: Json): Promise<void> {
    await this.client.write("setSetting", { key, value });
  }

  async stats(): Promise<StoreStats> {
    const counts = await this.client.read<CountedRows>("counts");
    return { ...counts, commits: this.client.commits, operations: this.client.operations };
  }
}

function unpackRecords(packed: PackedBatch): RecordBatch {
  const { classes, lengths, bytes, ...batch } = packed;
  let at = 0;
  const rows = lengths.map((length, i) => ({
    class: classes[i]!,
    body: bytes.subarray(at, (at += length)),
  }));
  return { ...batch, records: numbered(batch.first, rows) };
}
