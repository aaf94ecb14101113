import type { Clock } from "../../core/clock.ts";
import { HoldfastError } from "../../core/errors.ts";
import type { Ids } from "../../core/ids.ts";
import type { Json, JsonObject } from "../../model/json.ts";
import type { RecordBatch, StreamCursor } from "../../model/record.ts";
import * as agents from "./agents.ts";
import { HubDatabase, type Queries, type Row, type Value } from "./database.ts";
import { checkChain, ingestBatch } from "./ingest.ts";
import * as lists from "./lists.ts";
import { LOSSES_OF_AGENT, LOST_ROWS, lossOf, type LossView } from "./losses.ts";
import { migrate } from "./migrate.ts";
import { stepsOf } from "./step-views.ts";
import type { AgentRow, EventFilter, HubStore, IngestResult, RunFilter, RunView, StepView } from "./port.ts";
import {
  addReceiptCertificate,
  RECEIPT_CERTIFICATES,
  type ReceiptCertificateRow,
  receiptCertificateOf,
} from "./receipt-certificates.ts";
import type { WriterOptions } from "./writer-queue.ts";

export interface HubStoreOptions {
  /** Path of the SQLite file; made when it is missing. */
  file: string;
  clock: Clock;
  ids: Ids;
  writer?: Partial<WriterOptions>;
}

/** Opens the hub's store, brings its schema up to date, and gives a new one its hub id and epoch. */
export async function openHubStore(options: HubStoreOptions): Promise<SqlHubStore> {
  const { file, clock, ids, writer } = options;
  const prepare = async (tx: Queries) => {
    await migrate(tx, file);
    for (const key of ["hub_id", "epoch"]) {
      await tx.run("INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO NOTHING", [
        key,
        ids.next(),
      ]);
    }
  };
  const database = await HubDatabase.open(file, clock, prepare, writer);
  const meta = new Map(
    (await database.read("SELECT key, value FROM meta")).map((row) => [
      row.key as string,
      row.value as string,
    ]),
  );
  const heads = await readHeads(database);
  return new SqlHubStore(database, meta.get("hub_id")!, meta.get("epoch")!, heads.run);
}

async function readHeads(database: HubDatabase): Promise<{ event: number; run: number }> {
  const [row] = await database.read(
    "SELECT (SELECT COALESCE(MAX(n), 0) FROM events) AS event, (SELECT COALESCE(MAX(n), 0) FROM runs) AS run",
  );
  return { event: Number(row!.event), run: Number(row!.run) };
}

/** The hub's store on SQL. Statements are portable to PostgreSQL except for what `HubDatabase` and `Types` hide. */
export class SqlHubStore implements HubStore {
  readonly #database: HubDatabase;
  readonly hubId: string;
  readonly epoch: string;
  readonly #listeners = new Set<() => void>();
  #runChanges: number;

  constructor(database: HubDatabase, hubId: string, epoch: string, runChanges: number) {
    this.#database = database;
    this.hubId = hubId;
    this.epoch = epoch;
    this.#runChanges = runChanges;
  }

  /** A value of the hub's own that is no row of anything else. */
  async setting(key: string): Promise<unknown> {
    const [row] = await this.#database.read("SELECT value FROM meta WHERE key = ?", [key]);
    return row ? (JSON.parse(row.value as string) as unknown) : undefined;
  }

  async setSetting(key: string, value: Json): Promise<void> {
    await this.#write((tx) =>
      tx.run(
        "INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        [key, JSON.stringify(value)],
      ),
    );
  }

  async receiptCertificates(): Promise<ReceiptCertificateRow[]> {
    return (await this.#database.read(RECEIPT_CERTIFICATES)).map(receiptCertificateOf);
  }

  addReceiptCertificate(row: ReceiptCertificateRow): Promise<void> {
    return this.#write((tx) => addReceiptCertificate(tx, row));
  }

  addJoinToken(token: agents.JoinTokenRow): Promise<void> {
    return this.#write((tx) => agents.addJoinToken(tx, token));
  }

  addApiToken(token: agents.ApiTokenRow): Promise<void> {
    return this.#write((tx) => agents.addApiToken(tx, token));
  }

  async apiToken(hash: string): Promise<{ name: string; role: string } | null> {
    const [row] = await this.#database.read("SELECT name, role FROM api_tokens WHERE hash = ?", [hash]);
    return row ? { name: row.name as string, role: row.role as string } : null;
  }

  enroll(request: agents.EnrollRow) {
    return this.#write((tx) => agents.enroll(tx, request));
  }

  async hello(
    agent: string,
    epoch: string,
    labels: Record<string, string>,
    facts: JsonObject,
    nowMs: number,
    clockOffsetMs: number,
  ): Promise<StreamCursor[]> {
    return await this.#write(async (tx) => {
      const known = await agents.recordHello(tx, agent, { epoch, labels, facts }, nowMs, clockOffsetMs);
      if (!known) throw notEnrolled(agent);
      const rows = await tx.all(
        "SELECT epoch, lane, segment, number, hash, forked FROM streams WHERE agent = ? AND epoch = ? ORDER BY lane, segment",
        [agent, epoch],
      );
      return rows.map((row) => {
        const { forked: _forked, ...cursor } = agents.streamOf(row);
        return cursor;
      });
    });
  }

  heartbeat(agent: string, status: JsonObject, nowMs: number, clockOffsetMs: number): Promise<void> {
    return this.#write((tx) => agents.recordHeartbeat(tx, agent, status, nowMs, clockOffsetMs));
  }

  async ingest(
    agent: string,
    batch: RecordBatch,
    nowMs: number,
    publicKey: Uint8Array = new Uint8Array(),
  ): Promise<IngestResult> {
    const checked = checkChain(batch, publicKey);
    const nextRun = () => ++this.#runChanges;
    const work = (tx: Queries) => ingestBatch(tx, agent, checked, nowMs, nextRun);
    const result = await this.#database.writer.run(work, checked.bytes);
    if (result.kind === "ack" && result.added) for (const listener of this.#listeners) listener();
    return result;
  }

  async agents(): Promise<AgentRow[]> {
    return (await this.#database.read("SELECT * FROM agents ORDER BY id")).map(agents.agentOf);
  }

  async agent(id: string): Promise<AgentRow | null> {
    const [row] = await this.#database.read("SELECT * FROM agents WHERE id = ?", [id]);
    return row ? agents.agentOf(row) : null;
  }

  async agentStreams(id: string): Promise<(StreamCursor & { forked: number })[]> {
    const rows = await this.#database.read(
      "SELECT epoch, lane, segment, number, hash, forked FROM streams WHERE agent = ? ORDER BY id",
      [id],
    );
    return rows.map(agents.streamOf);
  }

  async agentLosses(id: string): Promise<LossView[]> {
    return (await this.#database.read(LOSSES_OF_AGENT.text, [id])).map(lossOf);
  }

  async lostRows(agent: string): Promise<number> {
    return Number((await this.#database.read(LOST_ROWS, [agent]))[0]!.rows);
  }

  async events(filter: EventFilter) {
    return (await this.#list(lists.eventsStatement(filter))).map(lists.eventOf);
  }

  async runs(filter: RunFilter): Promise<RunView[]> {
    return (await this.#list(lists.runsStatement(filter))).map(lists.runOf);
  }

  async runsChangedAfter(n: number, limit: number): Promise<RunView[]> {
    return (await this.#list(lists.runsChangedStatement(n, limit))).map(lists.runOf);
  }

  async run(agent: string | undefined, id: string): Promise<{ run: RunView; steps: StepView[] } | null> {
    const [row] = await this.#list(lists.runStatement(agent, id));
    if (!row) return null;
    const steps = await this.#database.read("SELECT * FROM steps WHERE run = ? AND agent = ?", [
      id,
      row.agent as string,
    ]);
    return { run: lists.runOf(row), steps: stepsOf(row, steps) };
  }

  async runsMatching(agent: string | undefined, part: string, limit: number): Promise<RunView[]> {
    return (await this.#list(lists.runsMatchingStatement(agent, part, limit))).map(lists.runOf);
  }

  heads(): Promise<{ event: number; run: number }> {
    return readHeads(this.#database);
  }

  async counts(): Promise<{ agents: number; events: number; runs: number; records: number }> {
    // Streams have no holes but those that loss records stand for, so their last numbers count their rows.
    const [row] = await this.#database.read(
      `SELECT (SELECT COUNT(*) FROM agents) AS agents, (SELECT COUNT(*) FROM events) AS events,
        (SELECT COUNT(*) FROM runs) AS runs, (SELECT COALESCE(SUM(number), 0) FROM streams)
          - (SELECT COALESCE(SUM(last - first), 0) FROM losses) AS records`,
    );
    const { agents: known, events, runs, records } = row!;
    return {
      agents: Number(known),
      events: Number(events),
      runs: Number(runs),
      records: Number(records),
    };
  }

  /** How the writer does, for metrics and health; `problem` is why the last commit failed. */
  writer() {
    const { commitSeconds, operations, waiting, problem } = this.#database.writer;
    return { commitSeconds, operations, waiting, problem };
  }

  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  close(): Promise<void> {
    return this.#database.close();
  }

  #write<T>(work: (tx: Queries) => Promise<T>): Promise<T> {
    return this.#database.writer.run(work);
  }

  #list({ text, values }: { text: string; values: Value[] }): Promise<Row[]> {
    return this.#database.read(text, values);
  }
}

function notEnrolled(agent: string): HoldfastError {
  return new HoldfastError(
    "unauthenticated",
    `Agent ${agent} is not enrolled at this hub (its database may be new or restored): enroll it again with a join token`,
  );
}
