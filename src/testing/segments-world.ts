import { Database } from "bun:sqlite";
import { copyFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { createOutbox, type Outbox } from "../agent/outbox/outbox.ts";
import { commitOf, sent, startOf } from "../agent/store/store-fixtures.ts";
import { systemClock } from "../core/clock.ts";
import { HoldfastError } from "../core/errors.ts";
import { systemIds } from "../core/ids.ts";
import { silentLogger } from "../core/logger.ts";
import { Ingest } from "../hub/ingest/ingest.ts";
import { openHubStore, type SqlHubStore } from "../hub/store/hub-store.ts";
import { runBody } from "../hub/store/test-batches.ts";
import { LANES, RECORD_CLASSES, type RecordBatch, type StreamCursor } from "../model/record.ts";
import type { Common } from "../protocol/capabilities.ts";
import { type InProcessStore, openInProcessStore } from "./in-process-store.ts";
import { Seeded } from "./seeded.ts";

export const AGENT = "web-01";
const RUNS = 5;
/** Stands for the key of the agent's certificate; nothing here is signed. */
const KEY = new Uint8Array(1);

/** What the hub holds of one stream, read from its database by itself. */
export interface HeldStream {
  epoch: string;
  lane: number;
  segment: number;
  hash: string;
  firstLink: string;
  marks: string[];
}

/**
 * An agent's real store and outbox, and a hub's real ingest and store, with a bad line between them. Each row that is
 * committed carries a mark of its own, so that in the end every row can be told.
 */
export class SegmentsWorld {
  readonly random: Seeded;
  /** Marks of what was committed, by lane, in order. */
  readonly committed = new Map<number, string[]>([
    [LANES.events, []],
    [LANES.results, []],
  ]);
  /** Newest mark of each run. */
  readonly newest = new Map<string, string>();
  readonly counts = { sessions: 0, epochs: 1, restarts: 0, gaps: 0, forks: 0, restored: 0 };
  store!: InProcessStore;
  hub!: SqlHubStore;
  readonly #folder: string;
  #ingest!: Ingest;
  #outbox!: Outbox;
  #mark = 0;
  /** What the hub has is kept here for so long that one which is set back gets it again. */
  readonly #keeps: boolean;
  #backup = false;
  /** The hub was set back, and the agent does not know yet. */
  #setBack = false;

  constructor(seed: number, folder: string) {
    this.random = new Seeded(seed);
    this.#folder = folder;
    this.#keeps = seed % 2 === 0;
  }

  async open(): Promise<void> {
    await this.#startHub();
    await this.#start();
    await this.store.startRuns([startOf("base", null)]);
    this.#note(LANES.results, "base");
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

  /** The hub is copied; or it is set back to its copy, unless that knows nothing of this epoch. */
  async backUpOrRestore(): Promise<void> {
    if (!this.#keeps) return;
    const [file, copy] = [join(this.#folder, "hub.db"), join(this.#folder, "hub.copy")];
    await this.hub.close();
    if (this.#backup) {
      this.counts.restored++;
      this.#setBack = true;
      for (const end of ["-wal", "-shm"]) rmSync(file + end, { force: true });
      copyFileSync(copy, file);
    } else copyFileSync(file, copy);
    this.#backup = true;
    await this.#startHub();
  }

  async commit(): Promise<void> {
    if (this.random.chance(0.5)) {
      const ids = Array.from({ length: this.random.int(1, 8) }, () => `e-${this.#mark++}`);
      await this.store.commitEvents(commitOf(ids));
      for (const id of ids) this.#note(LANES.events, id);
    } else {
      const run = `run-${this.random.int(1, RUNS)}`;
      const mark = `s-${this.#mark++}`;
      const body = JSON.stringify(runBody(run, "running", { reason: mark }));
      const record = { lane: LANES.results, class: RECORD_CLASSES.run, body };
      await this.store.changeRun({ runId: "base", guards: [], steps: [], records: [record] });
      this.#note(LANES.results, mark);
      this.newest.set(run, mark);
    }
  }

  async renew(reason: string): Promise<void> {
    // Only a session finds that a new epoch is needed, and by then it knows what the hub has.
    if (this.#setBack) return;
    this.#backup = false;
    this.counts.epochs++;
    await this.#outbox.renew(reason);
  }

  /** One session. A bad line breaks it after some batches; on a good one it ends when the hub has everything. */
  async session(good: boolean): Promise<void> {
    this.counts.sessions++;
    const over = new AbortController();
    const common: Common = new Set(good || this.random.chance(0.8) ? (["segments"] as const) : []);
    const batches = this.random.int(1, 12);
    let sentBatches = 0;
    try {
      await this.#outbox.begin(await this.#cursors(), common);
      this.#setBack = false;
      const pumping = this.#outbox.pump(async (batch) => {
        if (!good && (++sentBatches > batches || this.random.chance(0.05))) return over.abort();
        await this.#deliver(batch, good, over);
      }, over.signal);
      const done = this.#arrival(over.signal);
      await Promise.race([pumping, done]);
      over.abort();
      await Promise.all([pumping, done]);
    } catch (error) {
      over.abort();
      if (!(error instanceof HoldfastError) || !error.details?.fork) throw error;
      this.counts.forks++;
      this.#setBack = false;
      await this.renew(error.message);
    }
  }

  /** Whether the hub has every row that was committed in this epoch. */
  async complete(): Promise<boolean> {
    const held = await this.#cursors();
    return (await this.store.streams()).every(
      ({ lane, segment, last, acknowledged }) =>
        last === acknowledged &&
        (last === 0 ||
          held.some(
            (cursor) =>
              cursor.epoch === this.#outbox.epoch &&
              cursor.lane === lane &&
              cursor.segment === segment &&
              cursor.number === last,
          )),
    );
  }

  async #arrival(signal: AbortSignal): Promise<void> {
    const deadline = performance.now() + 60_000;
    while (!signal.aborted && !(await this.complete())) {
      if (performance.now() > deadline) throw new Error("the hub does not get everything");
      await Bun.sleep(2);
    }
  }

  async #deliver(batch: RecordBatch, good: boolean, over: AbortController): Promise<void> {
    if (this.random.chance(0.2)) await this.commit();
    if (!good && this.random.chance(0.05)) {
      // Lost on the way, which the hub sees by the next one.
      this.counts.gaps++;
      const cursors = (await this.#cursors()).filter(
        ({ lane, segment, epoch }) =>
          epoch === batch.epoch && lane === batch.lane && segment === batch.segment,
      );
      const nothing = { ...batch, number: 0, hash: batch.prevHash };
      return this.#outbox.gap(cursors[0] ?? nothing);
    }
    const outcome = await this.#ingest.records(AGENT, batch, KEY);
    if (outcome.kind === "fork") throw new HoldfastError("failed", outcome.message);
    if (!good && this.random.chance(0.05)) return over.abort();
    if (outcome.kind === "ack") this.#outbox.acked(outcome.cursor);
    else this.#outbox.gap(outcome.cursor);
  }

  held(): HeldStream[] {
    const database = new Database(join(this.#folder, "hub.db"), { readonly: true });
    const streams = database
      .query(
        "SELECT id, epoch, lane, segment, hex(hash) AS hash, hex(first_link) AS firstLink FROM streams ORDER BY lane, epoch, segment",
      )
      .all() as (HeldStream & { id: number })[];
    const rows = database.query("SELECT body FROM records WHERE stream = ? ORDER BY number");
    const held = streams.map(({ id, ...stream }) => ({
      ...stream,
      marks: (rows.all(id) as { body: Uint8Array }[]).map(({ body }) => markOf(body)),
    }));
    database.close();
    return held;
  }

  async #cursors(): Promise<StreamCursor[]> {
    return await this.hub.agentStreams(AGENT);
  }

  async #startHub(): Promise<void> {
    const clock = systemClock();
    this.hub = await openHubStore({ file: join(this.#folder, "hub.db"), clock, ids: systemIds() });
    this.#ingest = new Ingest({ store: this.hub, clock, log: silentLogger() });
  }

  async #start(): Promise<void> {
    this.store = await openInProcessStore({
      path: join(this.#folder, "agent.db"),
      ids: systemIds(),
      wall: () => 1,
      retention: { sent: sent(this.#keeps ? 1000 : this.random.pick([0, 5])) },
    });
    this.#outbox = createOutbox({
      ...{ store: this.store, log: silentLogger() },
      batchRows: this.random.int(1, 7),
      backlog: { rows: this.random.int(2, 12), bytes: 1e6 },
    });
  }

  #note(lane: number, mark: string): void {
    this.committed.get(lane)!.push(mark);
  }
}

function markOf(bytes: Uint8Array): string {
  const body = JSON.parse(new TextDecoder().decode(bytes)) as { id: string; reason?: string };
  return body.reason ?? body.id ?? "base";
}
