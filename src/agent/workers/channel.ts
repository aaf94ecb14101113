import { fstatSync } from "node:fs";
import { HoldfastError, messageOf } from "../../core/errors.ts";
import { MAX_FRAME_BYTES } from "./frames.ts";

const HEADER_BYTES = 4;
/** Why a channel closed when a write found nobody: no more than a consequence of the other side's end. */
export const OTHER_SIDE_GONE = "the other side is gone";
/** Unsent bytes at which the other side counts as not reading: it is given up, so that a queue never grows without end. */
export const MAX_UNSENT_BYTES = 64 * 1024 * 1024;
/** Small frames that wait together are written together up to here. */
const MAX_WRITE_BYTES = 256 * 1024;

export interface ChannelHandlers {
  /** One decoded frame, any JSON. Throwing closes the channel with the error's message. */
  frame(frame: unknown, bytes: number): void;
  /** Called once. `reason` is null when the other side just closed. */
  closed(reason: string | null): void;
}

/** Cuts a byte stream into frames: a 4-byte big-endian length, then JSON. Throws on what cannot be a frame. */
export class FrameReader {
  #chunks: Buffer[] = [];
  #size = 0;
  #wanted = HEADER_BYTES;

  push(chunk: Buffer, onFrame: (frame: unknown, bytes: number) => void): void {
    this.#chunks.push(chunk);
    this.#size += chunk.length;
    if (this.#size < this.#wanted) return;
    const buffer = this.#chunks.length === 1 ? chunk : Buffer.concat(this.#chunks, this.#size);
    let at = 0;
    this.#wanted = HEADER_BYTES;
    while (buffer.length - at >= HEADER_BYTES) {
      const length = buffer.readUInt32BE(at);
      if (length === 0 || length > MAX_FRAME_BYTES) {
        throw new HoldfastError("too_large", `a frame of ${length} bytes (at most ${MAX_FRAME_BYTES})`);
      }
      if (buffer.length - at < HEADER_BYTES + length) {
        this.#wanted = HEADER_BYTES + length;
        break;
      }
      const end = at + HEADER_BYTES + length;
      onFrame(parseJson(buffer.toString("utf8", at + HEADER_BYTES, end)), length);
      at = end;
    }
    this.#size = buffer.length - at;
    this.#chunks = this.#size === 0 ? [] : [buffer.subarray(at)];
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new HoldfastError("invalid", "a frame that is not JSON");
  }
}

/** One side of the socket pair between the agent and a plugin host. */
export class FrameChannel {
  readonly #handlers: ChannelHandlers;
  readonly #reader = new FrameReader();
  #socket: Bun.Socket<undefined> | undefined;
  #unsent: Buffer[] = [];
  #unsentBytes = 0;
  #flushed: (() => void)[] = [];
  /** The kernel took a part only, or a write is due at the end of this turn's microtasks. */
  #blocked = false;
  #due = false;
  #closed = false;

  private constructor(handlers: ChannelHandlers) {
    this.#handlers = handlers;
  }

  /** Adopts a connected socket; the channel closes the descriptor. */
  static async open(fd: number, handlers: ChannelHandlers): Promise<FrameChannel> {
    // Bun waits for anything else by asking again and again, and so uses a whole processor.
    if (!fstatSync(fd).isSocket()) throw new HoldfastError("invalid", `descriptor ${fd} is no socket`);
    const channel = new FrameChannel(handlers);
    channel.#socket = await Bun.connect({
      fd,
      socket: {
        data: (_socket: unknown, chunk: Buffer) => channel.#receive(chunk),
        drain: () => {
          channel.#blocked = false;
          channel.#write();
        },
        close: () => channel.#end(null),
        error: (_socket: unknown, error: Error) => channel.#end(messageOf(error)),
      },
    } as unknown as Bun.TCPSocketConnectOptions<undefined>);
    return channel;
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** Queues one frame given as JSON text. Throws `too_large`; after the close it does nothing. */
  send(json: string): void {
    if (this.#queue(json)) this.#write();
  }

  /**
   * Like `send`, but frames of the same turn go out with one write: a system call costs more than the frame. For what is
   * sent many times at once, and may be lost with the process.
   */
  sendSoon(json: string): void {
    if (!this.#queue(json) || this.#due) return;
    this.#due = true;
    queueMicrotask(() => {
      this.#due = false;
      this.#write();
    });
  }

  /** False when nothing is to be written now: the channel is closed. */
  #queue(json: string): boolean {
    if (this.#closed) return false;
    const length = Buffer.byteLength(json);
    if (length > MAX_FRAME_BYTES) {
      throw new HoldfastError("too_large", `a frame of ${length} bytes (at most ${MAX_FRAME_BYTES})`);
    }
    const frame = Buffer.allocUnsafe(HEADER_BYTES + length);
    frame.writeUInt32BE(length, 0);
    frame.write(json, HEADER_BYTES, "utf8");
    this.#unsent.push(frame);
    this.#unsentBytes += frame.length;
    if (this.#unsentBytes <= MAX_UNSENT_BYTES) return true;
    this.close("the other side does not read its frames");
    return false;
  }

  /** Resolves when every queued frame is with the kernel, or the channel is closed. */
  flush(): Promise<void> {
    if (this.#closed || this.#unsent.length === 0) return Promise.resolve();
    return new Promise((resolve) => this.#flushed.push(resolve));
  }

  close(reason: string | null = null): void {
    if (this.#closed) return;
    if (this.#due) this.#write();
    const socket = this.#socket;
    this.#end(reason);
    socket?.terminate();
  }

  #receive(chunk: Buffer): void {
    if (this.#closed) return;
    try {
      this.#reader.push(chunk, (frame, bytes) => {
        if (!this.#closed) this.#handlers.frame(frame, bytes);
      });
    } catch (error) {
      this.close(messageOf(error));
    }
  }

  #write(): void {
    while (this.#unsent.length > 0 && !this.#closed && !this.#blocked) {
      const next = this.#take();
      const written = this.#socket!.write(next);
      if (written < 0) return this.#end(OTHER_SIDE_GONE);
      this.#unsentBytes -= written;
      if (written < next.length) {
        // `drain` goes on with the rest.
        this.#blocked = true;
        this.#unsent.unshift(next.subarray(written));
      }
    }
    if (this.#unsent.length > 0) return;
    for (const resolve of this.#flushed.splice(0)) resolve();
  }

  /** The next frame, with as many behind it as make one write. */
  #take(): Buffer {
    const [first] = this.#unsent;
    let count = 1;
    let bytes = first!.length;
    for (; count < this.#unsent.length; count++) {
      bytes += this.#unsent[count]!.length;
      if (bytes > MAX_WRITE_BYTES) break;
    }
    const frames = this.#unsent.splice(0, count);
    return count === 1 ? first! : Buffer.concat(frames);
  }

  #end(reason: string | null): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#unsent = [];
    this.#unsentBytes = 0;
    for (const resolve of this.#flushed.splice(0)) resolve();
    this.#handlers.closed(reason);
  }
}
