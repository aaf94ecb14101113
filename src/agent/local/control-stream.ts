import type { Clock } from "../../core/clock.ts";
import { HoldfastError } from "../../core/errors.ts";

const MAX_STREAMS = 32;
/** Commits come in bursts: a stream looks at most this often. */
const COALESCE_MS = 50;
/** Bun closes a connection that is quiet for ten seconds. */
const KEEP_ALIVE_MS = 5_000;
const RETRY_MS = 500;

/** Gives what is new as frames of server-sent events; an empty string when there is nothing. Null ends the stream. */
export type NextFrames = () => Promise<string | null>;

/**
 * Server-sent events from the store, pulled by their reader: nothing is read while a slow reader has not taken what came
 * before. Woken by commits; one listener on the store serves all streams.
 */
export class ControlStreams {
  readonly #clock: Pick<Clock, "after" | "sleep">;
  readonly #waiting = new Set<() => void>();
  readonly #closing = new AbortController();
  #commits = 0;
  #open = 0;

  constructor(clock: Pick<Clock, "after" | "sleep">, onChange: (listener: () => void) => void) {
    this.#clock = clock;
    onChange(() => {
      this.#commits++;
      for (const wake of this.#waiting) wake();
    });
  }

  respond(request: Request, next: NextFrames): Response {
    if (this.#open >= MAX_STREAMS) {
      throw new HoldfastError(
        "exhausted",
        `this agent already serves ${MAX_STREAMS} live streams: close some`,
      );
    }
    this.#open++;
    const ending = new AbortController();
    const signal = AbortSignal.any([request.signal, ending.signal, this.#closing.signal]);
    if (signal.aborted) this.#open--;
    else signal.addEventListener("abort", () => this.#open--, { once: true });
    const frames = this.#frames(next, signal);
    const encoder = new TextEncoder();
    const body = new ReadableStream<Uint8Array>(
      {
        async pull(controller) {
          const frame = await frames.next().catch(() => ({ done: true, value: undefined }) as const);
          if (!frame.done) return controller.enqueue(encoder.encode(frame.value));
          ending.abort();
          controller.close();
        },
        cancel: () => ending.abort(),
      },
      { highWaterMark: 0 },
    );
    return new Response(body, { headers: { "content-type": "text/event-stream; charset=utf-8" } });
  }

  close(): void {
    this.#closing.abort();
  }

  async *#frames(next: NextFrames, signal: AbortSignal): AsyncGenerator<string> {
    yield `retry: ${RETRY_MS}\n\n`;
    while (!signal.aborted) {
      const seen = this.#commits;
      const frames = await next();
      if (frames === null) return;
      if (frames !== "") yield frames;
      else if (this.#commits === seen && !(await this.#change(signal))) yield ": keep-alive\n\n";
      await this.#clock.sleep(COALESCE_MS, signal);
    }
  }

  /** True after a commit, false when none came for a while or the stream ends. */
  #change(signal: AbortSignal): Promise<boolean> {
    return new Promise((resolve) => {
      const done = (woken: boolean) => {
        this.#waiting.delete(wake);
        cancel();
        signal.removeEventListener("abort", end);
        resolve(woken);
      };
      const wake = () => done(true);
      const end = () => done(false);
      const cancel = this.#clock.after(KEEP_ALIVE_MS, end);
      this.#waiting.add(wake);
      signal.addEventListener("abort", end, { once: true });
    });
  }
}

export function sseFrame(name: string, id: number, value: unknown): string {
  return `id: ${id}\nevent: ${name}\ndata: ${JSON.stringify(value)}\n\n`;
}
