import { HoldfastError, messageOf } from "../../core/errors.ts";
import type { Logger } from "../../core/logger.ts";
import type { StreamCursor, StreamReceipt } from "../../model/record.ts";
import { otherHistory } from "./other-history.ts";
import type { OutboxStore } from "./ports.ts";

interface Pending {
  cursor: StreamCursor;
  receipt: StreamReceipt | undefined;
  done: () => void;
}

/**
 * Commits the hub's acks to the store. While one commit of a stream is under way, only its newest ack waits: acks are
 * cumulative. An ack that cannot be committed (disk full) waits for `again`, since later rows may have to wait for it.
 */
export class Acknowledger {
  readonly #store: Pick<OutboxStore, "acknowledge">;
  readonly #log: Logger;
  readonly #onConflict: (error: HoldfastError) => void;
  readonly #waiting = new Map<string, Pending>();
  readonly #unkept = new Map<string, Pending>();
  readonly #working = new Map<string, Promise<void>>();

  constructor(
    store: Pick<OutboxStore, "acknowledge">,
    log: Logger,
    onConflict: (error: HoldfastError) => void,
  ) {
    this.#store = store;
    this.#log = log;
    this.#onConflict = onConflict;
  }

  /** `done` is called once the store has committed this ack or a later one of its stream. */
  take(cursor: StreamCursor, receipt: StreamReceipt | undefined, done: () => void): void {
    const key = `${cursor.epoch}/${cursor.lane}/${cursor.segment}`;
    this.#waiting.set(key, { cursor, receipt, done });
    this.#unkept.delete(key);
    if (this.#working.has(key)) return;
    this.#working.set(key, this.#work(key));
  }

  /** The store takes writes: acks that it could not keep are tried again. */
  again(): void {
    const unkept = [...this.#unkept.values()];
    this.#unkept.clear();
    for (const { cursor, receipt, done } of unkept) this.take(cursor, receipt, done);
  }

  /** A new session has acks of its own. */
  forget(): void {
    this.#unkept.clear();
  }

  async settled(): Promise<void> {
    while (this.#working.size > 0) await Promise.all(this.#working.values());
  }

  async #work(key: string): Promise<void> {
    for (let next = this.#waiting.get(key); next; next = this.#waiting.get(key)) {
      this.#waiting.delete(key);
      try {
        await this.#store.acknowledge(next.cursor, next.receipt);
        next.done();
      } catch (error) {
        if (error instanceof HoldfastError && error.code === "conflict") {
          this.#onConflict(otherHistory(error.message));
        } else {
          this.#log.warn(`an acknowledgement was not kept: ${messageOf(error)}`);
          if (!(error instanceof HoldfastError && error.code === "invalid")) this.#unkept.set(key, next);
        }
      }
    }
    // In the same turn in which nothing was found to wait: an ack that comes after it begins anew.
    this.#working.delete(key);
  }
}
