import { HoldfastError } from "../../core/errors.ts";
import type { Logger } from "../../core/logger.ts";
import type { RecordBatch, StreamCursor, StreamReceipt } from "../../model/record.ts";
import type { Common } from "../../protocol/capabilities.ts";
import { closeBacklogs, heldInOrder } from "./backlog.ts";
import { beforeLoss, bytesOf, where } from "./batch-rows.ts";
import { limitsOf, type OutboxLimits, type OutboxOptions } from "./outbox-options.ts";
import { Acknowledger } from "./acknowledger.ts";
import { Pace, type PaceOptions } from "./pace.ts";
import type { OutboxStore } from "./ports.ts";
import { otherHistory } from "./other-history.ts";
import { readRows } from "./read-rows.ts";
import { reconcile } from "./reconcile.ts";
import { StreamTable } from "./stream-table.ts";
import type { StreamWindow } from "./stream-window.ts";

/** Bounds of one session: a hub that always asks for the same rows again would otherwise be served for ever. */
const MAX_REWINDS = 20;

/**
 * Reads committed rows after the hub's cursors and hands them out as batches, results before events, several under
 * way at once. One session at a time: `begin`, then `pump` beside `acked` and `gap`; `renew` when the hub's copy and
 * this store cannot be the same history.
 */
export class Outbox {
  readonly #store: OutboxStore;
  readonly #log: Logger;
  readonly #limits: OutboxLimits;
  readonly #acknowledger: Acknowledger;
  readonly #streams: StreamTable;
  /** Highest number of each stream that the hub has said in this session to hold. */
  readonly #hub = new Map<string, number>();
  readonly #pace: Pace;
  readonly #clock: PaceOptions["clock"] | undefined;
  /** The hub of this session takes loss records. */
  #losses = false;
  /** Milliseconds until something that was held back may go. */
  #lookAgainMs = Number.POSITIVE_INFINITY;
  #epoch: string;
  #changed = false;
  #wake: (() => void) | undefined;
  #failure: HoldfastError | undefined;
  #rewinds = 0;

  constructor(options: OutboxOptions) {
    this.#store = options.store;
    this.#log = options.log;
    this.#limits = limitsOf(options);
    this.#pace = new Pace(options.pace);
    this.#clock = options.pace?.clock;
    this.#epoch = options.store.facts.epoch;
    const { rows, sentAhead } = this.#limits;
    this.#streams = new StreamTable(options.store, (stream) => !stream.farAhead(rows, sentAhead));
    this.#acknowledger = new Acknowledger(options.store, options.log, (error) => this.#fail(error));
    options.store.onOutbox(() => {
      this.#streams.stale = true;
      this.#acknowledger.again();
      this.#wakeUp();
    });
  }

  get epoch(): string {
    return this.#epoch;
  }

  /** Rows that the hub does not have, as last known; asks the store again in the background when that is old. */
  lagRows(): number {
    // What is found so is to be sent too: whoever sends has seen that somebody asks already.
    if (this.#streams.stale) {
      this.#streams.refresh().then(
        () => this.#wakeUp(),
        () => {},
      );
    }
    return this.#streams.lagRows();
  }

  /** Of them, rows that drain behind fresh ones. */
  backlogRows(): number {
    return this.#streams.lagRows(true);
  }

  /** Why rows of a stream are held back, if any are. */
  problem(): string | null {
    return this.#streams.blocked();
  }

  /**
   * Compares this store with where the hub stands. Throws `otherHistory` when they cannot be the same: call
   * `renew` with that reason and begin a new session. `backlogPace`: bytes of backlog a second that the hub asks for; 0 is
   * no bound.
   */
  async begin(cursors: StreamCursor[], common: Common = new Set(), backlogPace = 0): Promise<void> {
    await this.#acknowledger.settled();
    this.#acknowledger.forget();
    this.#losses = common.has("loss");
    this.#failure = undefined;
    this.#rewinds = 0;
    this.#streams.clear();
    this.#hub.clear();
    for (const cursor of cursors.filter(({ epoch }) => epoch === this.#epoch)) {
      this.#hub.set(`${cursor.lane}/${cursor.segment}`, cursor.number);
    }
    const starts = await reconcile(this.#store, this.#epoch, cursors, common);
    if (common.has("segments")) await closeBacklogs(this.#store, this.#limits.backlog, this.#log);
    this.#pace.asked(backlogPace);
    await this.#streams.refresh();
    for (const [key, next] of starts) this.#streams.get(key)?.reset(next);
  }

  /** Sends batches until the signal aborts; `send` resolves when there is room. Throws what ends the session. */
  async pump(send: (batch: RecordBatch) => Promise<void>, signal: AbortSignal): Promise<void> {
    const onAbort = () => this.#wakeUp();
    signal.addEventListener("abort", onAbort);
    try {
      while (!signal.aborted) {
        if (this.#failure) throw this.#failure;
        this.#changed = false;
        const sent = await this.#sendNext(send, signal);
        if (!sent && !signal.aborted) await this.#change();
      }
    } finally {
      signal.removeEventListener("abort", onAbort);
    }
  }

  /** The hub has committed rows up to here. */
  acked(cursor: StreamCursor, receipt?: StreamReceipt): void {
    const stream = this.#streamOf(cursor);
    if (!stream) return;
    if (!stream.acked(cursor) || cursor.number > stream.last) {
      this.#fail(otherHistory(`the hub acknowledged other rows than were sent (${where(cursor)})`));
      return;
    }
    this.#hub.set(stream.key, Math.max(cursor.number, this.#hub.get(stream.key) ?? 0));
    this.#acknowledger.take(cursor, receipt, () => {
      stream.acknowledged = Math.max(stream.acknowledged, cursor.number);
      if (stream.gone > 0) this.#streams.stale = true;
      this.#wakeUp();
    });
    this.#wakeUp();
  }

  /** The hub misses rows: goes on after its cursor. */
  gap(cursor: StreamCursor): void {
    const stream = this.#streamOf(cursor);
    if (!stream) return;
    if (cursor.number > stream.last) {
      return this.#fail(
        otherHistory(`the hub goes on after a row that was never written (${where(cursor)})`),
      );
    }
    if (!stream.rewind(cursor.number)) return;
    this.#log.warn("the hub misses rows; sending again", { stream: where(cursor) });
    if (++this.#rewinds > MAX_REWINDS) {
      this.#fail(
        new HoldfastError("failed", `the hub asked ${MAX_REWINDS} times for rows again (${where(cursor)})`),
      );
    }
    this.#wakeUp();
  }

  /** Begins a new epoch of the store, because the hub's copy is another history; sends again what is not agreed on. */
  async renew(reason: string): Promise<void> {
    await this.#acknowledger.settled();
    // Only what both sides have agreed on counts as held. The rest is sent again: the hub knows events by source + id.
    const held = heldInOrder(await this.#store.streams(), this.#hub);
    const old = this.#epoch;
    this.#epoch = await this.#store.renewEpoch(reason, held);
    this.#streams.clear();
    this.#log.error(`new epoch of this store: ${reason}`, { old, epoch: this.#epoch });
  }

  /** Resolves when nothing is under way; wait no longer than the signal. */
  async settled(signal: AbortSignal): Promise<void> {
    const onAbort = () => this.#wakeUp();
    signal.addEventListener("abort", onAbort);
    this.#lookAgainMs = Number.POSITIVE_INFINITY;
    while (this.#streams.busy() && !signal.aborted && !this.#failure) {
      this.#changed = false;
      await this.#change();
    }
    signal.removeEventListener("abort", onAbort);
    await this.#acknowledger.settled();
  }

  /** Sends the next batch of the first lane that has one and room; false when there is nothing to do. */
  async #sendNext(send: (batch: RecordBatch) => Promise<void>, signal: AbortSignal): Promise<boolean> {
    if (this.#streams.stale) await this.#streams.refresh();
    const paceMs = this.#pace.waitMs();
    const { windowBatches, windowBytes } = this.#limits;
    const stream = this.#streams.ready(windowBatches, windowBytes, paceMs === 0, this.#clock?.mono());
    // Kept as it was when it held something back: asked again later it might be over, and nobody would look again.
    this.#lookAgainMs = Math.min(paceMs > 0 ? paceMs : Number.POSITIVE_INFINITY, this.#streams.gathersMs);
    if (!stream || signal.aborted) return false;
    const { next: first } = stream;
    const batch = await readRows(this.#store, stream, first, this.#limitsOf(stream));
    // A gap may have come meanwhile, and the signal too: then this batch is not the next one.
    if (stream.next !== first || signal.aborted) return true;
    if (batch === null) {
      stream.blocked = `row ${first} of lane ${stream.lane} is not in the store any more`;
      throw otherHistory(stream.blocked);
    }
    const told = this.#losses ? batch : beforeLoss(batch);
    if (told === null) {
      stream.blocked = `lane ${stream.lane} is held back: rows from ${first} on had to go (sync.outbox), and this hub is of a version that takes no loss records: update the hub`;
      this.#log.error(stream.blocked);
      return true;
    }
    stream.sent(told, bytesOf(told));
    if (stream.closed) this.#pace.took(bytesOf(told));
    try {
      await send(told);
    } catch (error) {
      if (!(error instanceof HoldfastError) || error.code !== "too_large") throw error;
      stream.reset(first);
      stream.blocked = `row ${first} of lane ${stream.lane} cannot be sent: ${error.message}`;
      this.#log.error(stream.blocked);
    }
    return true;
  }

  #limitsOf({ closed }: StreamWindow): { rows: number; bytes: number } {
    const { rows, bytes } = this.#limits;
    return { rows, bytes: closed ? Math.min(bytes, this.#pace.batchBytes()) : bytes };
  }

  #streamOf(cursor: StreamCursor): StreamWindow | undefined {
    return cursor.epoch === this.#epoch ? this.#streams.get(`${cursor.lane}/${cursor.segment}`) : undefined;
  }

  #fail(error: HoldfastError): void {
    this.#failure ??= error;
    this.#wakeUp();
  }

  /** Resolves at the next wake-up, or at once if one came since #changed was last cleared. */
  async #change(): Promise<void> {
    if (this.#changed) return;
    const cancel = Number.isFinite(this.#lookAgainMs)
      ? this.#clock!.after(this.#lookAgainMs, () => this.#wakeUp())
      : () => {};
    await new Promise<void>((resolve) => (this.#wake = resolve));
    cancel();
  }

  #wakeUp(): void {
    this.#changed = true;
    this.#wake?.();
    this.#wake = undefined;
  }
}

/** Makes the outbox of a store; one for the life of the agent. */
export function createOutbox(options: OutboxOptions): Outbox {
  return new Outbox(options);
}
