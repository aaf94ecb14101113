import type { Duplex } from "node:stream";
import { HoldfastError } from "../../../core/errors.ts";

export interface ResponseHead {
  status: number;
  statusText: string;
  headers: Headers;
}

const MAX_HEAD_BYTES = 256 * 1024;
const CRLF = Buffer.from("\r\n");

/** Reads one HTTP/1.1 response from a stream: its head, then its body piece by piece. */
export class ResponseReader {
  readonly #pieces: AsyncIterator<Buffer>;
  #rest: Buffer = Buffer.alloc(0);

  constructor(stream: Duplex) {
    this.#pieces = stream[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
  }

  /** The final response; those that only say "go on" are passed over. */
  async head(): Promise<ResponseHead> {
    for (;;) {
      const lines: string[] = [];
      for (let line = await this.#line(); line !== ""; line = await this.#line()) lines.push(line);
      const head = parseHead(lines);
      if (head.status >= 200) return head;
    }
  }

  async *body(head: ResponseHead, method: string): AsyncGenerator<Buffer> {
    if (method === "HEAD" || head.status === 204 || head.status === 304) return;
    const length = head.headers.get("content-length");
    if (/\bchunked\s*$/i.test(head.headers.get("transfer-encoding") ?? "")) yield* this.#chunks();
    else if (length !== null) yield* this.#bytes(wholeNumber(length, 10));
    else yield* this.#untilEnd();
  }

  async *#chunks(): AsyncGenerator<Buffer> {
    for (;;) {
      const size = wholeNumber((await this.#line()).split(";")[0]!.trim(), 16);
      if (size === 0) break;
      yield* this.#bytes(size);
      if ((await this.#line()) !== "") throw broken("a chunk without its end");
    }
    while ((await this.#line()) !== "");
  }

  async *#bytes(count: number): AsyncGenerator<Buffer> {
    for (let missing = count; missing > 0;) {
      if (this.#rest.length === 0 && !(await this.#more()))
        throw broken("it ended in the middle of its body");
      const piece = this.#rest.subarray(0, missing);
      this.#rest = this.#rest.subarray(piece.length);
      missing -= piece.length;
      yield piece;
    }
  }

  async *#untilEnd(): AsyncGenerator<Buffer> {
    do {
      if (this.#rest.length > 0) yield this.#rest;
      this.#rest = Buffer.alloc(0);
    } while (await this.#more());
  }

  async #line(): Promise<string> {
    for (;;) {
      const end = this.#rest.indexOf(CRLF);
      if (end !== -1) {
        const line = this.#rest.toString("latin1", 0, end);
        this.#rest = this.#rest.subarray(end + CRLF.length);
        return line;
      }
      if (this.#rest.length > MAX_HEAD_BYTES) throw broken("its head is too long");
      if (!(await this.#more())) throw broken("it ended in the middle of its head");
    }
  }

  async #more(): Promise<boolean> {
    const next = await this.#pieces.next();
    if (next.done) return false;
    this.#rest = this.#rest.length === 0 ? next.value : Buffer.concat([this.#rest, next.value]);
    return true;
  }
}

function parseHead([first = "", ...lines]: string[]): ResponseHead {
  const match = /^HTTP\/1\.[01] (\d{3})(?: (.*))?$/.exec(first);
  if (!match) throw broken("it does not begin as HTTP/1.1");
  const headers = new Headers();
  for (const line of lines) {
    const colon = line.indexOf(":");
    if (colon < 1) throw broken("a header without a name");
    headers.append(line.slice(0, colon), line.slice(colon + 1).trim());
  }
  return { status: Number(match[1]), statusText: match[2] ?? "", headers };
}

function wholeNumber(text: string, radix: 10 | 16): number {
  const number = (radix === 10 ? /^\d{1,15}$/ : /^[0-9a-fA-F]{1,12}$/).test(text)
    ? Number.parseInt(text, radix)
    : -1;
  if (number < 0) throw broken("a wrong length");
  return number;
}

function broken(what: string): HoldfastError {
  return new HoldfastError("unreachable", `fetch: the answer is no HTTP: ${what}`);
}
