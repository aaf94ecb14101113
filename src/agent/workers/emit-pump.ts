import { HoldfastError } from "../../core/errors.ts";
import type { ProposedEvent } from "../../model/event.ts";
import type { Json } from "../../model/json.ts";
import type { Emit } from "../../sdk/holdfast.ts";
import { EMIT_WINDOW, MAX_EMIT_BYTES, MAX_EMIT_EVENTS } from "./emit-limits.ts";
import { MAX_FRAME_BYTES } from "./frames.ts";
import { proposedEventProblem } from "./proposed-event.ts";

/** Largest emit that surely fits into a frame together with what was gathered before it. */
const MAX_EMIT = MAX_FRAME_BYTES / 4;

type Done = NonNullable<Emit["done"]>;
type Yielded = ProposedEvent | Emit;

/**
 * From a trigger's generator to `emit` frames. What the generator has ready in one turn of the event loop goes into one
 * frame; while EMIT_WINDOW frames are unanswered the generator is not asked for more. An `Emit` is never divided.
 */
export class EmitPump {
  readonly #send: (json: string) => void;
  #seq = 0;
  #unanswered = 0;
  #events: string[] = [];
  #bytes = 0;
  /** JSON of the last checkpoint yielded, for the batch in hand. */
  #checkpoint: string | undefined;
  /** Who wants to know of the batch in hand, and of each frame that is unanswered; answers come in their order. */
  #asking: Done[] = [];
  #told: Done[][] = [];
  #refused: HoldfastError | undefined;
  readonly #refusal = Promise.withResolvers<never>();
  #wake: (() => void) | undefined;

  constructor(send: (json: string) => void) {
    this.#send = send;
    this.#refusal.promise.catch(() => {});
  }

  /**
   * Resolves when the generator has ended and everything is answered. Throws what it throws, or the refusal, and that at
   * once: what was refused is to come again, and a generator that waits for something to happen may wait for long.
   */
  async run(generator: AsyncGenerator<Yielded, void, void>): Promise<void> {
    await Promise.race([this.#pump(generator), this.#refusal.promise]);
  }

  async #pump(generator: AsyncGenerator<Yielded, void, void>): Promise<void> {
    try {
      for (;;) {
        if (this.#full) await this.#room(EMIT_WINDOW);
        const next = await generator.next();
        if (next.done) break;
        // While the generator was waited for, what had been gathered may have taken the last place.
        if (this.#full) await this.#room(EMIT_WINDOW);
        this.#add(next.value);
      }
    } finally {
      // Also before a failure: what was yielded ahead of it is to be kept, unless something before it was not.
      if (!this.#refused) this.#flush();
      await this.#room(1);
    }
  }

  /** The agent's answer to one frame. A refused one ends the trigger: what follows must not move the checkpoint past it. */
  answered(refused: string | undefined): void {
    this.#unanswered--;
    for (const done of this.#told.shift() ?? []) done(refused ?? null);
    if (refused !== undefined) {
      this.#refused ??= new HoldfastError("failed", `the agent refused an emit: ${refused}`);
      this.#refusal.reject(this.#refused);
    }
    this.#wake?.();
  }

  get #full(): boolean {
    return this.#unanswered >= EMIT_WINDOW || this.#refused !== undefined;
  }

  /** Waits until fewer than `limit` frames are unanswered. Throws when one was refused. */
  async #room(limit: number): Promise<void> {
    while (this.#unanswered >= limit && !this.#refused) {
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
    if (this.#refused) throw this.#refused;
  }

  #add(value: Yielded): void {
    if (typeof value !== "object" || value === null) {
      throw new HoldfastError("invalid", "a trigger must yield an event or { events, checkpoint }");
    }
    const first = this.#events.length === 0 && this.#checkpoint === undefined;
    const isEmit = "events" in value && Array.isArray(value.events);
    const events = (isEmit ? (value as Emit).events : [value as ProposedEvent]).map(encodeEvent);
    const size = events.reduce((sum, json) => sum + json.length, 0);
    // Checked before it joins others, so that it fails alone.
    if (size > MAX_EMIT / 3 && bytesOf(events) > MAX_EMIT) {
      throw new HoldfastError("too_large", `an emit of more than ${MAX_EMIT} bytes: yield less at a time`);
    }
    const checkpoint = isEmit ? (value as Emit).checkpoint : undefined;
    if (checkpoint !== undefined) this.#checkpoint = encode(checkpoint, "a checkpoint");
    const done = isEmit ? (value as Emit).done : undefined;
    if (done) this.#asking.push(done);
    this.#events.push(...events);
    this.#bytes += size;
    if (this.#events.length >= MAX_EMIT_EVENTS || this.#bytes >= MAX_EMIT_BYTES) this.#flush();
    else if (first) setImmediate(() => this.#flush());
  }

  #flush(): void {
    if (this.#events.length === 0 && this.#checkpoint === undefined) {
      // There is nothing to keep.
      for (const done of this.#asking.splice(0)) done(null);
      return;
    }
    const checkpoint = this.#checkpoint === undefined ? "" : `,"checkpoint":${this.#checkpoint}`;
    const json = `{"kind":"emit","seq":${++this.#seq},"events":[${this.#events.join(",")}]${checkpoint}}`;
    this.#told.push(this.#asking);
    this.#asking = [];
    this.#events = [];
    this.#bytes = 0;
    this.#checkpoint = undefined;
    this.#unanswered++;
    this.#send(json);
  }
}

/** The agent checks again; here an event fails alone, before it is in one frame with good ones. */
function encodeEvent(event: ProposedEvent): string {
  const problem = proposedEventProblem(event);
  if (problem !== null) throw new HoldfastError("invalid", `an invalid event: ${problem}`);
  return encode(event, "an event");
}

function bytesOf(texts: string[]): number {
  return texts.reduce((sum, text) => sum + Buffer.byteLength(text), 0);
}

function encode(value: Json | ProposedEvent, what: string): string {
  let json: string | undefined;
  try {
    json = JSON.stringify(value);
  } catch (error) {
    throw new HoldfastError("invalid", `${what} that is not JSON: ${String(error)}`);
  }
  if (json === undefined) throw new HoldfastError("invalid", `${what} that is not JSON`);
  return json;
}
