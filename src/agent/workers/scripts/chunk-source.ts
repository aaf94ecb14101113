import type { ReadableStreamDefaultReader } from "node:stream/web";
import type { Clock } from "../../../core/clock.ts";

/** A script's pipe, read chunk by chunk: who does not read makes the script wait. */
export class ChunkSource {
  readonly #reader: ReadableStreamDefaultReader<Uint8Array<ArrayBuffer>>;
  #chunks = 0;
  #waiting = false;
  #over = false;

  constructor(stream: ReadableStream<Uint8Array<ArrayBuffer>>) {
    this.#reader = stream.getReader();
  }

  /** The next bytes, or null at the end. */
  async read(): Promise<Uint8Array<ArrayBuffer> | null> {
    if (this.#over) return null;
    this.#waiting = true;
    try {
      const { value, done } = await this.#reader.read();
      if (!done) {
        this.#chunks++;
        return value;
      }
    } catch {
      // The pipe broke with the process; what came is kept.
    } finally {
      this.#waiting = false;
    }
    this.#over = true;
    return null;
  }

  /** Ends the reading, also of a pipe that something set loose holds open. */
  cancel(): void {
    this.#over = true;
    void this.#reader.cancel().catch(() => {});
  }

  /** After the process is gone: cancels once nothing has come for `quietMs` although it was waited for. */
  async cancelWhenQuiet(quietMs: number, clock: Clock): Promise<void> {
    while (!this.#over) {
      const before = this.#chunks;
      const waited = this.#waiting;
      await clock.sleep(quietMs);
      if (waited && this.#waiting && this.#chunks === before) this.cancel();
    }
  }
}
