import { HoldfastError, messageOf } from "../../core/errors.ts";
import { silentLogger } from "../../core/logger.ts";
import { createOutbox, type Outbox } from "../../agent/outbox/outbox.ts";
import type { OutboxStore } from "../../agent/outbox/ports.ts";
import type { ReceiptStore } from "../../agent/sync/ports.ts";
import type { RecordBatch, StreamCursor } from "../../model/record.ts";
import type { Seeded } from "../seeded.ts";
import type { Incarnation } from "./incarnation.ts";
import type { ModelHub } from "./model-hub.ts";

/** The way to the hub, which may be away, and whether it breaks now and then. */
export interface HubLine {
  hub: ModelHub;
  up: boolean;
  reliable: boolean;
  /** Ends the session that there is. */
  cut: (() => void) | null;
}

interface Options {
  life: Incarnation;
  store: OutboxStore & ReceiptStore;
  line: HubLine;
  random: Seeded;
  say: (line: string) => void;
  sentAhead: number | undefined;
}

const AGAIN_MS = 2_000;
const CERTIFICATE = { hub: "hub", serial: "01", certificate: Uint8Array.of(1), authority: Uint8Array.of(2) };

/** The real outbox of one life of the agent, with session after session to the model hub, as sync holds them. */
export class HubSessions {
  readonly #options: Options;
  readonly outbox: Outbox;
  /** Whether this hub signs what it has: then a cursor alone counts for nothing. */
  readonly #signs: boolean;
  readonly #stopped = new AbortController();

  constructor(options: Options) {
    this.#options = options;
    const rows = options.random.pick([3, 20, 500]);
    const backlog = { rows: options.random.pick([3, 20, 500]), bytes: 1e9 };
    this.#signs = options.random.pick([true, false]);
    const { sentAhead } = options;
    this.outbox = createOutbox({
      ...{ store: options.store, log: silentLogger(), batchRows: rows, backlog },
      ...(sentAhead === undefined ? {} : { sentAhead }),
    });
  }

  get epoch(): string {
    return this.outbox.epoch;
  }

  async run(): Promise<void> {
    const { life, line, say } = this.#options;
    while (!this.#stopped.signal.aborted && !life.dead) {
      try {
        if (line.up) await this.#session();
      } catch (error) {
        if (life.dead) return;
        if (error instanceof HoldfastError && error.details?.fork) await this.#renew(error.message);
        else say(`session with the hub ended: ${messageOf(error)}`);
      }
      await life.sleep(AGAIN_MS, this.#stopped.signal).catch(() => {});
    }
  }

  stop(): void {
    this.#stopped.abort();
    this.#options.line.cut?.();
  }

  async #renew(reason: string): Promise<void> {
    const { say } = this.#options;
    await this.outbox.renew(reason).then(
      () => say("a new epoch"),
      (error: unknown) => say(`no new epoch: ${messageOf(error)}`),
    );
  }

  async #session(): Promise<void> {
    const { line } = this.#options;
    const over = new AbortController();
    line.cut = () => over.abort();
    try {
      const cursors = line.hub.cursors();
      if (this.#signs) await this.#options.store.keepReceiptCertificates([CERTIFICATE]);
      await this.outbox.begin(
        cursors,
        new Set(this.#signs ? ["loss", "segments", "receipts"] : ["loss", "segments"]),
      );
      for (const cursor of this.#signs && !over.signal.aborted ? cursors : []) this.#acked(cursor);
      if (!over.signal.aborted) await this.outbox.pump((batch) => this.#send(batch, over), over.signal);
    } finally {
      over.abort();
      line.cut = null;
    }
  }

  async #send(batch: RecordBatch, over: AbortController): Promise<void> {
    const { life, line, random } = this.#options;
    if (life.dead) return await new Promise(() => {});
    // The line breaks before the hub has the batch, or before the agent has the answer.
    const breaks = line.reliable ? 1 : random.next();
    if (breaks < 0.03) return over.abort();
    const { kind, cursor } = line.hub.receive(batch);
    if (breaks < 0.06) return over.abort();
    life.after(random.int(0, 50), () => {
      if (over.signal.aborted) return;
      if (kind === "ack") this.#acked(cursor);
      else this.outbox.gap(cursor);
    });
  }

  /** The signature is checked before the outbox hears of it (src/agent/sync/receipt-book.ts): here it is none. */
  #acked(cursor: StreamCursor): void {
    const receipt = { hub: CERTIFICATE.hub, key: CERTIFICATE.serial, atMs: 1, signature: new Uint8Array(64) };
    if (cursor.number > 0) this.outbox.acked(cursor, this.#signs ? receipt : undefined);
  }
}
