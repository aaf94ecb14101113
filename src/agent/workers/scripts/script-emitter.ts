import { HoldfastError } from "../../../core/errors.ts";
import type { ProposedEvent } from "../../../model/event.ts";
import type { Json } from "../../../model/json.ts";
import { EmitChain, type EmitHandler, type Refusal } from "../emit-chain.ts";
import { EMIT_WINDOW, MAX_EMIT_BYTES, MAX_EMIT_EVENTS } from "../emit-limits.ts";
import type { EventLine } from "./event-line.ts";

/** Bytes that may be unanswered besides the emit in hand; lines may be large. */
const MAX_UNANSWERED_BYTES = 4 * 1024 * 1024;

/** From the lines of a trigger to emits. While the window is full `add` and `flush` do not resolve: nobody reads the pipe. */
export class ScriptEmitter {
  /** Why its output cannot be used; set by who reads it. */
  fault: string | undefined;
  readonly #chain: EmitChain;
  #events: ProposedEvent[] = [];
  #checkpoint: Json | undefined;
  #bytes = 0;
  #seq = 0;
  readonly #unanswered = new Map<number, number>();
  #unansweredBytes = 0;
  #wake = () => {};

  /** `refused` is told when nothing that follows will be kept: the script is of no use any more. */
  constructor(onEvents: EmitHandler, refused: (reason: string) => void) {
    this.#chain = new EmitChain(onEvents, (seq, reason) => {
      this.#unansweredBytes -= this.#unanswered.get(seq) ?? 0;
      this.#unanswered.delete(seq);
      this.#wake();
      if (reason !== undefined) refused(reason);
    });
  }

  get refusal(): Refusal | undefined {
    return this.#chain.refusal;
  }

  /** Resolves when everything that was emitted is settled. */
  idle(): Promise<void> {
    return this.#chain.idle();
  }

  /** Takes one line; its events and its checkpoint are never divided. */
  async add(line: EventLine, bytes: number): Promise<void> {
    for (const event of line.events) this.#events.push(event);
    if (line.checkpoint !== undefined) this.#checkpoint = line.checkpoint;
    this.#bytes += bytes;
    if (this.#events.length >= MAX_EMIT_EVENTS || this.#bytes >= MAX_EMIT_BYTES) await this.flush();
  }

  /** Emits what was gathered. Rejects when an earlier emit was refused. */
  async flush(): Promise<void> {
    if (this.#events.length === 0 && this.#checkpoint === undefined) return;
    while (this.#full && !this.refusal) {
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
    if (this.refusal) throw new HoldfastError("failed", `an emit was refused: ${this.refusal.reason}`);
    const [events, checkpoint, bytes] = [this.#events, this.#checkpoint, this.#bytes];
    this.#events = [];
    this.#checkpoint = undefined;
    this.#bytes = 0;
    const seq = ++this.#seq;
    this.#unanswered.set(seq, bytes);
    this.#unansweredBytes += bytes;
    this.#chain.push({ seq, events, checkpoint, bytes });
  }

  get #full(): boolean {
    return this.#unanswered.size >= EMIT_WINDOW || this.#unansweredBytes > MAX_UNANSWERED_BYTES;
  }
}
