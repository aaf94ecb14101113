import { Database } from "bun:sqlite";
import { generateKeyPairSync } from "node:crypto";
import { join } from "node:path";
import { createOutbox, type Outbox } from "../agent/outbox/outbox.ts";
import type { OutboxCap } from "../agent/store/retention.ts";
import { commitOf, sent, startOf } from "../agent/store/store-fixtures.ts";
import { signLosses } from "../agent/sync/sign-losses.ts";
import { systemClock } from "../core/clock.ts";
import { HoldfastError } from "../core/errors.ts";
import { systemIds } from "../core/ids.ts";
import { silentLogger } from "../core/logger.ts";
import { Ingest } from "../hub/ingest/ingest.ts";
import { openHubStore, type SqlHubStore } from "../hub/store/hub-store.ts";
import type { RecordBatch } from "../model/record.ts";
import type { Capability, Common } from "../protocol/capabilities.ts";
import { batchOfRecords, recordsFrame } from "../protocol/transport-frames.ts";
import { type InProcessStore, openInProcessStore } from "./in-process-store.ts";
import { Seeded } from "./seeded.ts";
import { until } from "./until.ts";

export const AGENT = "web-01";
const CAP: OutboxCap = { rows: 40, bytes: Number.MAX_SAFE_INTEGER, ahead: 24, least: 5 };

const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "prime256v1" });
const PEM = privateKey.export({ type: "pkcs8", format: "pem" }) as string;
const SPKI = new Uint8Array(publicKey.export({ type: "spki", format: "der" }));

/**
 * An agent's real store and outbox under a small cap, and a hub's real ingest and store, with a bad line between them: what was
 * given up is signed, goes through frames, and is checked as it is everywhere.
 */
export class LossesWorld {
  readonly random: Seeded;
  /** Rows that were ever committed. */
  committed = 0;
  readonly counts = { sessions: 0, epochs: 1, restarts: 0, gaps: 0, forks: 0 };
  store!: InProcessStore;
  hub!: SqlHubStore;
  readonly #folder: string;
  readonly #capabilities: readonly Capability[];
  #ingest!: Ingest;
  #outbox!: Outbox;
  #mark = 0;

  constructor(seed: number, folder: string, capabilities: readonly Capability[]) {
    this.random = new Seeded(seed);
    this.#folder = folder;
    this.#capabilities = capabilities;
  }

  async open(): Promise<void> {
    const clock = systemClock();
    this.hub = await openHubStore({ file: join(this.#folder, "hub.db"), clock, ids: systemIds() });
    this.#ingest = new Ingest({ store: this.hub, clock, log: silentLogger() });
    await this.#start();
  }

  async close(): Promise<void> {
    await this.store.close();
    await this.hub.close();
  }

  /** Dies between two writes, or closes, and comes back on the same file. */
  async restart(): Promise<void> {
    this.counts.restarts++;
    if (this.random.chance(0.5)) this.store.crash();
    else await this.store.close();
    await this.#start();
  }

  async commit(): Promise<void> {
    const ids = Array.from({ length: this.random.int(1, 12) }, () => `e-${this.#mark++}`);
    if (this.random.chance(0.7)) await this.store.commitEvents(commitOf(ids));
    else await this.store.startRuns(ids.map((id) => startOf(id, null)));
    this.committed += ids.length;
  }

  async renew(): Promise<void> {
    this.counts.epochs++;
    await this.#outbox.renew("another history");
  }

  /** One session. A bad line breaks it after some batches; on a good one it ends when the hub has everything. */
  async session(good: boolean): Promise<void> {
    this.counts.sessions++;
    const over = new AbortController();
    const common: Common = new Set(this.#capabilities);
    const batches = this.random.int(1, 12);
    let sentBatches = 0;
    try {
      await this.#outbox.begin(await this.hub.agentStreams(AGENT), common);
      const pumping = this.#outbox.pump(async (batch) => {
        if (!good && (++sentBatches > batches || this.random.chance(0.05))) return over.abort();
        await this.#deliver(batch, good, over);
      }, over.signal);
      const whole = () => over.signal.aborted || this.#outbox.lagRows() === 0;
      const done = until("the hub has everything", whole, 20_000);
      await Promise.race([pumping, done]);
      over.abort();
      await Promise.all([pumping, done]);
    } catch (error) {
      over.abort();
      if (!(error instanceof HoldfastError) || !error.details?.fork) throw error;
      this.counts.forks++;
      await this.renew();
    }
  }

  async #deliver(batch: RecordBatch, good: boolean, over: AbortController): Promise<void> {
    if (!good && this.random.chance(0.2)) await this.commit();
    // Rows go while others of their stream are under way.
    if (this.random.chance(0.2)) void this.store.trim();
    const { frame } = recordsFrame(await signLosses(AGENT, batch, PEM));
    if (frame?.$case !== "records") throw new Error("no frame of records");
    const outcome = await this.#ingest.records(AGENT, await batchOfRecords(frame.value), SPKI);
    if (outcome.kind === "fork") throw new HoldfastError("failed", outcome.message);
    if (outcome.kind === "gap") this.counts.gaps++;
    if (!good && this.random.chance(0.05)) return over.abort();
    if (outcome.kind === "ack") this.#outbox.acked(outcome.cursor);
    else this.#outbox.gap(outcome.cursor);
  }

  /** Different rows of the hub that are no loss records: in a new epoch some come again. */
  held(): number {
    const database = new Database(join(this.#folder, "hub.db"), { readonly: true });
    const row = database
      .query("SELECT count(*) AS rows FROM (SELECT DISTINCT class, body FROM records WHERE class <> 9)")
      .get() as { rows: number };
    database.close();
    return row.rows;
  }

  async #start(): Promise<void> {
    this.store = await openInProcessStore({
      path: join(this.#folder, "agent.db"),
      ids: systemIds(),
      wall: () => 1,
      retention: { sent: sent(this.random.pick([0, 5, 1000])), outbox: CAP },
    });
    this.#outbox = createOutbox({
      ...{ store: this.store, log: silentLogger() },
      batchRows: this.random.int(1, 7),
      sentAhead: CAP.ahead,
      backlog: { rows: this.random.int(2, 12), bytes: 1e6 },
    });
  }
}
