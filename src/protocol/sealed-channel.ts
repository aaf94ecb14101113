import type { Clock } from "../core/clock.ts";
import { HoldfastError, messageOf } from "../core/errors.ts";
import { decodeCbor, encodeCbor } from "./cbor.ts";
import type { FrameCodec } from "./cbor-frames.ts";
import { DroppedMessage, type DropReason, type Opener, type Sealer } from "./sealed-session.ts";
import { MAX_FRAME_BYTES } from "./transport.ts";
import { FrameQueue } from "./transport-queue.ts";

/** What goes sealed over a channel: a list that begins with one of these. */
const MESSAGE = { frame: 1, taken: 2, end: 3, ping: 4 } as const;

/** Of frames that the other side's reader has not taken yet: a sender waits at either. */
const WINDOW_FRAMES = 800;
const WINDOW_BYTES = 2 << 20;
/** The reader says how far it is when it has taken a quarter of the window. */
const TELL_FRAMES = WINDOW_FRAMES / 4;
const TELL_BYTES = WINDOW_BYTES / 4;
const KEEPALIVE_MS = 20_000;
/** Without a word for so many intervals the other side is gone. */
const SILENT_INTERVALS = 2.5;
const PROBE_MS = 3000;

export interface ChannelOptions<In, Out> {
  sealer: Sealer;
  opener: Opener;
  incoming: FrameCodec<In>;
  outgoing: FrameCodec<Out>;
  /** Hands one message to the broker; resolves when the broker has it. */
  publish(message: Buffer): Promise<void>;
  clock: Clock;
  /** A message that is not the other side's next one; it changes nothing. */
  onDropped: (dropped: DroppedMessage) => void;
  /** The other side has ended: plainly with an empty code. What it sent before is still to be read. */
  onPeerEnd: (code: string, message: string) => void;
  /** The channel cannot go on: the other side is silent, something was lost on the way, or what it sent is no frame. */
  onBroken: (error: HoldfastError) => void;
  /** How long a side may be silent; after two and a half times that the other takes it for gone. */
  keepaliveMs?: number | undefined;
}

/**
 * Frames in order between two sides that do not trust what carries them, with a window that only the other side's reader
 * opens: a broker acknowledges what nobody has read.
 */
export class SealedChannel<In, Out> {
  readonly #options: ChannelOptions<In, Out>;
  readonly #queue = new FrameQueue<{ frame: In; bytes: number }>(Number.POSITIVE_INFINITY, NO_FLOW);
  readonly #waiting = new Set<() => void>();
  readonly #sent = { frames: 0, bytes: 0 };
  /** What the other side's reader has taken of it. */
  readonly #peerTook = { frames: 0, bytes: 0 };
  readonly #received = { frames: 0, bytes: 0 };
  readonly #taken = { frames: 0, bytes: 0 };
  readonly #told = { frames: 0, bytes: 0 };
  #heardMono: number;
  #spoken = false;
  #probing = false;
  #over = false;
  #cancelKeepalive: () => void = () => {};

  constructor(options: ChannelOptions<In, Out>) {
    this.#options = options;
    this.#heardMono = options.clock.mono();
    this.#keepAlive();
  }

  get over(): boolean {
    return this.#over;
  }

  /** One reader. */
  readonly frames: AsyncIterable<In> = { [Symbol.asyncIterator]: () => this.#read() };

  /** Resolves when there is room for the next frame, or the channel is over. Sealed before it first waits where there is room. */
  async send(frame: Out): Promise<void> {
    const encoded = this.#options.outgoing.encode(frame);
    if (encoded.length > MAX_FRAME_BYTES + FRAME_OVERHEAD) {
      throw new HoldfastError(
        "too_large",
        `a frame of ${encoded.length} bytes is over the limit and was not sent`,
      );
    }
    while (!this.#over && !this.#room(encoded.length)) {
      await new Promise<void>((resolve) => this.#waiting.add(resolve));
    }
    if (this.#over) return;
    this.#sent.frames++;
    this.#sent.bytes += encoded.length;
    this.#post([MESSAGE.frame, encoded]);
  }

  /** A message that came in on the other side's topic. */
  receive(message: Uint8Array): void {
    if (this.#over) return;
    const opened = this.#open(message);
    if (opened === undefined) return;
    this.#heardMono = this.#options.clock.mono();
    try {
      this.#take(decodeCbor(opened));
    } catch (error) {
      this.#break(error instanceof HoldfastError ? error : new HoldfastError("invalid", messageOf(error)));
    }
  }

  /** Says that nothing more comes. What was sent before arrives before it. Resolves when the broker has it. */
  async sayEnd(code = "", message = ""): Promise<void> {
    if (!this.#over) await this.#post([MESSAGE.end, code, message]);
  }

  /** Nothing more comes from the other side; what waits can still be read. */
  endFrames(): void {
    this.#queue.end();
  }

  /** Nothing goes out or in any more. */
  stop(): void {
    this.#over = true;
    this.#cancelKeepalive();
    this.#queue.end();
    this.#wake();
  }

  /** Somebody who proves nothing says that the other side is gone: it is asked, and has little time to answer. */
  probe(): void {
    if (this.#over || this.#probing) return;
    this.#probing = true;
    const { clock } = this.#options;
    const asked = clock.mono();
    void this.#post([MESSAGE.ping]);
    clock.after(PROBE_MS, () => {
      this.#probing = false;
      if (!this.#over && this.#heardMono < asked) this.#break(silent());
    });
  }

  #open(message: Uint8Array): Uint8Array | undefined {
    try {
      return this.#options.opener.open(message);
    } catch (error) {
      if (!(error instanceof DroppedMessage)) throw error;
      this.#options.onDropped(error);
      if (error.reason === ("missing before" satisfies DropReason)) {
        this.#break(new HoldfastError("unreachable", "messages were lost on the way through the broker"));
      }
      return undefined;
    }
  }

  #take(message: unknown): void {
    if (!Array.isArray(message)) throw malformed("it is no list");
    const [kind, first, second] = message as unknown[];
    // Kinds that this version does not know are passed over.
    if (kind === MESSAGE.frame) this.#takeFrame(first);
    else if (kind === MESSAGE.taken) this.#takeCredit(Number(first), Number(second));
    else if (kind === MESSAGE.ping) this.#tell();
    else if (kind === MESSAGE.end)
      this.#options.onPeerEnd(String(first ?? ""), String(second ?? "").slice(0, 2000));
  }

  #takeFrame(encoded: unknown): void {
    if (!(encoded instanceof Uint8Array)) throw malformed("its frame is not bytes");
    this.#received.frames++;
    this.#received.bytes += encoded.length;
    const held = this.#received.bytes - this.#taken.bytes;
    if (
      this.#received.frames - this.#taken.frames > WINDOW_FRAMES ||
      held > WINDOW_BYTES + MAX_FRAME_BYTES + FRAME_OVERHEAD
    ) {
      throw new HoldfastError("exhausted", "the other side sends more than it was given room for");
    }
    this.#queue.push({ frame: this.#options.incoming.decode(encoded), bytes: encoded.length });
  }

  #takeCredit(frames: number, bytes: number): void {
    const possible = frames <= this.#sent.frames && bytes <= this.#sent.bytes;
    if (!possible) throw malformed("it says that more was taken than was sent");
    this.#peerTook.frames = Math.max(this.#peerTook.frames, frames);
    this.#peerTook.bytes = Math.max(this.#peerTook.bytes, bytes);
    this.#wake();
  }

  async *#read(): AsyncGenerator<In, void, undefined> {
    for await (const { frame, bytes } of this.#queue) {
      this.#taken.frames++;
      this.#taken.bytes += bytes;
      const { frames: toldFrames, bytes: toldBytes } = this.#told;
      if (this.#taken.frames - toldFrames >= TELL_FRAMES || this.#taken.bytes - toldBytes >= TELL_BYTES)
        this.#tell();
      yield frame;
    }
  }

  #tell(): void {
    Object.assign(this.#told, this.#taken);
    void this.#post([MESSAGE.taken, this.#taken.frames, wholeNumber(this.#taken.bytes)]);
  }

  #room(bytes: number): boolean {
    const frames = this.#sent.frames - this.#peerTook.frames;
    const held = this.#sent.bytes - this.#peerTook.bytes;
    // Of less than a quarter nothing may ever be said: a frame that is larger than the window goes then.
    return frames < WINDOW_FRAMES && (held < TELL_BYTES || held + bytes <= WINDOW_BYTES);
  }

  async #post(message: unknown[]): Promise<void> {
    if (this.#over) return;
    this.#spoken = true;
    try {
      await this.#options.publish(this.#options.sealer.seal(encodeCbor(message)));
    } catch (error) {
      this.#break(new HoldfastError("unreachable", `the broker did not take a message: ${messageOf(error)}`));
    }
  }

  #keepAlive(): void {
    const { clock } = this.#options;
    const interval = this.#options.keepaliveMs ?? KEEPALIVE_MS;
    this.#cancelKeepalive = clock.after(interval, () => {
      if (clock.mono() - this.#heardMono > SILENT_INTERVALS * interval) return this.#break(silent());
      if (!this.#spoken) this.#tell();
      this.#spoken = false;
      this.#keepAlive();
    });
  }

  #break(error: HoldfastError): void {
    if (!this.#over) this.#options.onBroken(error);
  }

  #wake(): void {
    for (const wake of this.#waiting) wake();
    this.#waiting.clear();
  }
}

/** What CBOR adds to a frame of the allowed size. */
const FRAME_OVERHEAD = 64 * 1024;
const NO_FLOW = { pause() {}, resume() {} };

function silent(): HoldfastError {
  return new HoldfastError("unreachable", "the other side of the session does not answer any more");
}

function malformed(why: string): HoldfastError {
  return new HoldfastError("invalid", `a message of the session is malformed: ${why}`);
}

/** Over 2^32 a plain number would become a float. */
function wholeNumber(value: number): number | bigint {
  return value > 0xffffffff ? BigInt(value) : value;
}
