import { HoldfastError, messageOf } from "../../core/errors.ts";
import type { ProposedEvent } from "../../model/event.ts";
import type { Json } from "../../model/json.ts";
import { EMIT_WINDOW } from "./emit-limits.ts";

/** Frames that wait are handed on together up to this size: one commit for all of them. */
const MAX_MERGED_BYTES = 1024 * 1024;

/** Batches in hand: one being committed, one being made ready for its turn. */
const BATCHES_IN_HAND = 2;

/**
 * Resolves when the events are kept. `turn` settles with the batch before: nothing may be kept before it has resolved, and
 * nothing at all when it rejects.
 */
export type EmitHandler = (
  events: ProposedEvent[],
  checkpoint: Json | undefined,
  turn: Promise<void>,
) => Promise<void>;

interface Waiting {
  seq: number;
  events: ProposedEvent[];
  checkpoint: Json | undefined;
  bytes: number;
}

export interface Refusal {
  reason: string;
  /** The event itself cannot be kept (too large, invalid): the plugin's fault, and trying again would not help. */
  fault: boolean;
}

/**
 * Emits of one life of a trigger, in order and one commit at a time; the next batch is made ready meanwhile. Once an emit is refused, all that follow are refused
 * too: a later checkpoint must never be kept without the events before it. The next life starts from the last one kept.
 */
export class EmitChain {
  readonly #handler: EmitHandler;
  readonly #answer: (seq: number, refused?: string) => void;
  #waiting: Waiting[] = [];
  #inHand = 0;
  #batches = 0;
  #turn: Promise<void> = Promise.resolve();
  #settled: Promise<void> = Promise.resolve();
  #refusal: Refusal | undefined;

  constructor(handler: EmitHandler, answer: (seq: number, refused?: string) => void) {
    this.#handler = handler;
    this.#answer = answer;
  }

  get refusal(): Refusal | undefined {
    return this.#refusal;
  }

  /** Throws when the plugin host does not keep to the window. */
  push(emit: Waiting): void {
    if (this.#waiting.length + this.#inHand >= EMIT_WINDOW) {
      throw new HoldfastError("invalid", `more than ${EMIT_WINDOW} unanswered emits`);
    }
    this.#waiting.push(emit);
    this.#start();
  }

  /** Resolves when nothing is waiting or in hand. */
  async idle(): Promise<void> {
    while (this.#batches > 0) await this.#settled;
  }

  #start(): void {
    while (this.#waiting.length > 0 && this.#batches < BATCHES_IN_HAND) {
      const batch = this.#take();
      this.#batches++;
      this.#inHand += batch.length;
      this.#turn = this.#commit(batch, this.#turn);
      this.#settled = this.#turn.then(
        () => this.#end(batch),
        () => this.#end(batch, this.#refusal?.reason),
      );
    }
  }

  #end(batch: Waiting[], refused?: string): void {
    this.#batches--;
    this.#inHand -= batch.length;
    for (const emit of batch) this.#answer(emit.seq, refused);
    this.#start();
  }

  async #commit(batch: Waiting[], turn: Promise<void>): Promise<void> {
    const events = batch.length === 1 ? batch[0]!.events : batch.flatMap((emit) => emit.events);
    const checkpoint = batch.findLast((emit) => emit.checkpoint !== undefined)?.checkpoint;
    try {
      if (this.#refusal) throw new HoldfastError("failed", this.#refusal.reason);
      await this.#handler(events, checkpoint, turn);
    } catch (error) {
      // The batch before may still be kept; what it is told must not depend on us.
      await turn.catch(() => {});
      const fault =
        error instanceof HoldfastError && (error.code === "too_large" || error.code === "invalid");
      this.#refusal ??= { reason: messageOf(error), fault };
      throw error;
    }
  }

  #take(): Waiting[] {
    let bytes = 0;
    let count = 0;
    for (const emit of this.#waiting) {
      if (count > 0 && bytes + emit.bytes > MAX_MERGED_BYTES) break;
      bytes += emit.bytes;
      count++;
    }
    return this.#waiting.splice(0, count);
  }
}
