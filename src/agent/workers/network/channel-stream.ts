import { Duplex } from "node:stream";
import { HoldfastError } from "../../../core/errors.ts";

/** Frames of connections that go over a worker's channel, where it has no other network. Either side may send all but `net_open`. */
export type NetFrame =
  | { kind: "net_open"; id: number; host: string; port: number }
  | { kind: "net_opened"; id: number }
  /** Base64. */
  | { kind: "net_data"; id: number; data: string }
  /** So many bytes more may be sent. */
  | { kind: "net_credit"; id: number; bytes: number }
  /** Nothing more comes from this side. */
  | { kind: "net_end"; id: number }
  /** It is over, both ways. */
  | { kind: "net_failed"; id: number; code: string; message: string };

/** Bytes that may be on the way without having been taken. */
const WINDOW = 256 * 1024;
const CHUNK = 48 * 1024;

export interface ChannelStreamOptions {
  id: number;
  send: (frame: NetFrame) => void;
}

/** One connection over the channel, as a stream that holds no more than the window. */
export class ChannelStream extends Duplex {
  readonly #id: number;
  readonly #send: (frame: NetFrame) => void;
  /** Received and not yet asked for; null is the end. */
  #queue: (Buffer | null)[] = [];
  #queuedBytes = 0;
  #wanted = false;
  #ended = false;
  #credit = WINDOW;
  #unsent: { data: Buffer; done: () => void } | undefined;
  /** The other side knows by itself that it is over. */
  #told = false;

  constructor({ id, send }: ChannelStreamOptions) {
    super({ allowHalfOpen: true, readableHighWaterMark: CHUNK, writableHighWaterMark: CHUNK });
    this.#id = id;
    this.#send = send;
  }

  /** Takes a frame of the other side. Throws `invalid` when it breaks the rules. */
  receive(frame: NetFrame): void {
    if (this.destroyed) return;
    switch (frame.kind) {
      case "net_data":
        return this.#receiveData(Buffer.from(frame.data, "base64"));
      case "net_end":
        if (this.#ended) throw new HoldfastError("invalid", "a second end of a connection");
        this.#ended = true;
        this.#queue.push(null);
        return this.#deliver();
      case "net_credit":
        this.#credit = Math.min(this.#credit + frame.bytes, WINDOW);
        return this.#flush();
      case "net_failed":
        this.#told = true;
        this.destroy(new HoldfastError("unreachable", frame.message, { details: { code: frame.code } }));
        return;
      default:
    }
  }

  /** Ends it, and tells the other side why. */
  fail(code: string, message: string): void {
    if (this.destroyed) return;
    this.#tell(code, message);
    this.destroy();
  }

  resetAndDestroy(): void {
    this.fail("cancelled", "the connection was cut off");
  }

  override _read(): void {
    this.#wanted = true;
    this.#deliver();
  }

  override _write(data: Buffer, _encoding: string, done: () => void): void {
    this.#unsent = { data, done };
    this.#flush();
  }

  override _final(done: () => void): void {
    this.#send({ kind: "net_end", id: this.#id });
    done();
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    if (!this.readableEnded || !this.writableFinished) this.#tell("cancelled", "the connection was given up");
    this.#queue = [];
    this.#unsent = undefined;
    done(error);
  }

  #receiveData(data: Buffer): void {
    this.#queuedBytes += data.length;
    if (this.#ended || this.#queuedBytes > WINDOW) {
      throw new HoldfastError("invalid", "more bytes of a connection than were asked for");
    }
    this.#queue.push(data);
    this.#deliver();
  }

  #deliver(): void {
    while (this.#wanted && this.#queue.length > 0) {
      const next = this.#queue.shift()!;
      this.#wanted = false;
      if (next === null) return void this.push(null);
      this.#queuedBytes -= next.length;
      this.#send({ kind: "net_credit", id: this.#id, bytes: next.length });
      // Calls _read again when it wants more.
      this.push(next);
    }
  }

  #flush(): void {
    const unsent = this.#unsent;
    if (!unsent) return;
    while (unsent.data.length > 0 && this.#credit > 0) {
      const chunk = unsent.data.subarray(0, Math.min(this.#credit, CHUNK));
      this.#credit -= chunk.length;
      unsent.data = unsent.data.subarray(chunk.length);
      this.#send({ kind: "net_data", id: this.#id, data: chunk.toString("base64") });
    }
    if (unsent.data.length > 0) return;
    this.#unsent = undefined;
    unsent.done();
  }

  #tell(code: string, message: string): void {
    if (this.#told) return;
    this.#told = true;
    this.#send({ kind: "net_failed", id: this.#id, code, message });
  }
}
