/** One line of a script, without its end. */
export interface ScriptLine {
  text: string;
  /** Bytes of the line in all when it was longer than is kept, else 0. */
  cutFrom: number;
}

/** From chunks of bytes to lines, of each of which at most `maxBytes` are kept. Bytes that are no UTF-8 become �. */
export class LineSplitter {
  readonly #maxBytes: number;
  #parts: Uint8Array[] = [];
  #size = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** The lines that end in this chunk. */
  push(chunk: Uint8Array): ScriptLine[] {
    const lines: ScriptLine[] = [];
    let from = 0;
    for (let end = chunk.indexOf(10); end !== -1; end = chunk.indexOf(10, from)) {
      this.#keep(chunk.subarray(from, end));
      lines.push(this.#take());
      from = end + 1;
    }
    this.#keep(chunk.subarray(from));
    return lines;
  }

  /** The rest after the last line break, if there is one. */
  end(): ScriptLine[] {
    return this.#size === 0 ? [] : [this.#take()];
  }

  #keep(part: Uint8Array): void {
    const room = this.#maxBytes - this.#size;
    // A copy: a view would keep the whole chunk alive.
    if (room > 0 && part.length > 0) this.#parts.push(part.slice(0, room));
    this.#size += part.length;
  }

  #take(): ScriptLine {
    const text = Buffer.concat(this.#parts).toString("utf8");
    const cutFrom = this.#size > this.#maxBytes ? this.#size : 0;
    this.#parts = [];
    this.#size = 0;
    return { text: text.endsWith("\r") ? text.slice(0, -1) : text, cutFrom };
  }
}
