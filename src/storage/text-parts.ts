/** Strings that travel end to end beside the arguments of an operation, which keep only their lengths. */
export class TextWriter {
  readonly #parts: string[] = [];

  /** Returns the length that the reader asks for again. */
  add(text: string): number {
    this.#parts.push(text);
    return text.length;
  }

  toString(): string {
    return this.#parts.length === 1 ? this.#parts[0]! : this.#parts.join("");
  }
}

/** Takes the strings out in the order in which they were added. */
export class TextReader {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  take(length: number): string {
    return this.#text.substring(this.#at, (this.#at += length));
  }
}
