import type { Clock } from "../../core/clock.ts";
import { HoldfastError, messageOf } from "../../core/errors.ts";
import type { Logger } from "../../core/logger.ts";

export interface LiveSource {
  /** Value of the `event:` field. */
  name: "event" | "run";
  /** Highest number that is committed now. */
  head(): Promise<number>;
  /** Rows after `n`, oldest first, that the client asked for; `scanned` is how far the source looked. */
  read(n: number, limit: number): Promise<{ items: { n: number }[]; scanned: number }>;
}

export interface LiveOptions {
  clock: Pick<Clock, "mono" | "after">;
  log: Logger;
  /** Calls back after commits that may have brought rows. */
  onChange: (listener: () => void) => () => void;
  keepAliveMs?: number;
  /** A client that has not taken a frame for so long is dropped. */
  stallMs?: number;
  maxStreams?: number;
}

const PAGE = 50;
/** Commits come in bursts: a stream looks at most this often. */
const COALESCE_MS = 25;
const RETRY_MS = 2000;

/**
 * Server-sent events from the store. A stream is pulled by its reader: nothing is read from the store while a slow
 * client has not taken what came before, so that a stream holds one page at most.
 */
export class LiveStreams {
  readonly #options: LiveOptions;
  readonly #open = new Set<LiveStream>();

  constructor(options: LiveOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#open.size;
  }

  /** Answers with a stream that starts after `after`, or from now on when that is undefined. */
  respond(source: LiveSource, after: number | undefined, request: Request): Response {
    const limit = this.#options.maxStreams ?? 100;
    if (this.#open.size >= limit) {
      throw new HoldfastError(
        "exhausted",
        `This hub already serves ${limit} live streams, its limit: close some, or read the list routes instead`,
        { details: { retryAfterSeconds: 10 } },
      );
    }
    const stream = new LiveStream(this.#options, this.#open, (signal) => this.#frames(source, after, signal));
    request.signal.addEventListener("abort", () => stream.end(), { once: true });
    const body = new ReadableStream<Uint8Array>(
      { pull: (controller) => stream.pull(controller), cancel: () => stream.end() },
      { highWaterMark: 0 },
    );
    return new Response(body, {
      headers: { "content-type": "text/event-stream; charset=utf-8", "x-accel-buffering": "no" },
    });
  }

  /** Ends every stream, so that a hub can drain. */
  close(): void {
    for (const stream of [...this.#open]) stream.end();
  }

  async *#frames(source: LiveSource, after: number | undefined, signal: AbortSignal): AsyncGenerator<string> {
    const { clock } = this.#options;
    const waiter = new ChangeWaiter(this.#options, signal);
    try {
      const head = await source.head();
      let cursor = after ?? head;
      // A number the store has not reached yet comes from another store: a restored or a new one.
      if (cursor > head) {
        cursor = head;
        yield `event: reset\ndata: ${JSON.stringify({ asked: after, head })}\n\n`;
      }
      // An id without data moves the client's Last-Event-ID, so that a reconnect before the first row misses nothing.
      yield `retry: ${RETRY_MS}\nid: ${cursor}\n\n`;
      for (;;) {
        const readMs = clock.mono();
        const { items, scanned } = await source.read(cursor, PAGE);
        if (signal.aborted) return;
        if (items.length > 0) yield items.map((item) => frame(source.name, item)).join("");
        const moved = scanned > cursor;
        cursor = Math.max(cursor, scanned);
        if (moved) continue;
        const woken = await waiter.next(readMs);
        if (signal.aborted) return;
        if (!woken) yield `: keep-alive\nid: ${cursor}\n\n`;
      }
    } finally {
      waiter.close();
    }
  }
}

/** One client's stream: its place among the open ones, its frames, and the watch on a client that stopped reading. */
class LiveStream {
  readonly #options: LiveOptions;
  readonly #open: Set<LiveStream>;
  readonly #makeFrames: (signal: AbortSignal) => AsyncGenerator<string>;
  readonly #ending = new AbortController();
  readonly #encoder = new TextEncoder();
  #frames: AsyncGenerator<string> | undefined;
  #cancelStallWatch: (() => void) | undefined;

  constructor(
    options: LiveOptions,
    open: Set<LiveStream>,
    makeFrames: (signal: AbortSignal) => AsyncGenerator<string>,
  ) {
    this.#options = options;
    this.#open = open;
    this.#makeFrames = makeFrames;
  }

  async pull(controller: ReadableStreamDefaultController<Uint8Array>): Promise<void> {
    this.#cancelStallWatch?.();
    // Counted from the first pull on, so that an answer that nobody reads (HEAD) takes no place.
    if (!this.#frames) this.#open.add(this);
    this.#frames ??= this.#makeFrames(this.#ending.signal);
    let next: IteratorResult<string, unknown>;
    try {
      next = await this.#frames.next();
    } catch (error) {
      this.#options.log.warn("A live stream ended", { reason: messageOf(error) });
      next = { done: true, value: undefined };
    }
    if (next.done) {
      this.end();
      return closeQuietly(controller);
    }
    controller.enqueue(this.#encoder.encode(next.value));
    this.#cancelStallWatch = this.#options.clock.after(this.#options.stallMs ?? 60_000, () => {
      this.end();
      controller.error(new Error("the client does not read"));
    });
  }

  end(): void {
    this.#cancelStallWatch?.();
    this.#ending.abort();
    this.#open.delete(this);
    // A generator that rests at a yield ends here; one that waits was woken by the abort.
    void this.#frames?.return(undefined);
  }
}

function closeQuietly(controller: ReadableStreamDefaultController<Uint8Array>): void {
  try {
    controller.close();
  } catch {
    // The client had gone before.
  }
}

function frame(name: string, item: { n: number }): string {
  return `id: ${item.n}\nevent: ${name}\ndata: ${JSON.stringify(item)}\n\n`;
}

/** Waits for a commit, for the keep-alive's time, or for the end; remembers a commit that came between two waits. */
class ChangeWaiter {
  readonly #clock: Pick<Clock, "mono" | "after">;
  readonly #signal: AbortSignal;
  readonly #keepAliveMs: number;
  readonly #unsubscribe: () => void;
  #changed = false;
  #wake: (() => void) | undefined;

  constructor(options: LiveOptions, signal: AbortSignal) {
    this.#clock = options.clock;
    this.#signal = signal;
    this.#keepAliveMs = options.keepAliveMs ?? 15_000;
    this.#unsubscribe = options.onChange(() => {
      this.#changed = true;
      this.#wake?.();
    });
    signal.addEventListener("abort", () => this.#wake?.(), { once: true });
  }

  /** True after a commit, false when the keep-alive is due. `lastReadMs` keeps bursts of commits from being bursts of reads. */
  async next(lastReadMs: number): Promise<boolean> {
    if (!this.#changed && !this.#signal.aborted) await this.#pause(this.#keepAliveMs, true);
    if (!this.#changed) return false;
    const rest = COALESCE_MS - (this.#clock.mono() - lastReadMs);
    if (rest > 0) await this.#pause(rest, false);
    this.#changed = false;
    return true;
  }

  close(): void {
    this.#unsubscribe();
  }

  #pause(ms: number, wakeOnChange: boolean): Promise<void> {
    if (this.#signal.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      const done = () => {
        cancel();
        this.#wake = undefined;
        resolve();
      };
      const cancel = this.#clock.after(ms, done);
      this.#wake = () => {
        if (wakeOnChange || this.#signal.aborted) done();
      };
    });
  }
}
