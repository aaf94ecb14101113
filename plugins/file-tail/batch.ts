import type { Json, ProposedEvent } from "../../src/sdk/holdfast.ts";

const MAX_EVENTS = 256;
const MAX_BYTES = 1024 * 1024;
/** An event is refused over 256 KB of JSON, and control characters take six bytes there. */
const MAX_JSON = 200_000;

/** Events on their way out: at most 256, or about 1 MB of lines. */
export class Batch {
  readonly #type: string;
  readonly #file: string;
  /** A subject may have 1,024 characters, a path 4,096. */
  readonly #subject: string;
  readonly #match: RegExp | undefined;
  #events: ProposedEvent[] = [];
  #bytes = 0;

  constructor(options: { type: string; file: string; match: string | undefined }) {
    this.#type = options.type;
    this.#file = options.file;
    this.#subject = options.file.slice(-1024);
    this.#match = options.match === undefined ? undefined : new RegExp(options.match);
  }

  get isFull(): boolean {
    return this.#events.length >= MAX_EVENTS || this.#bytes >= MAX_BYTES;
  }

  get isEmpty(): boolean {
    return this.#events.length === 0;
  }

  addLine(id: string, bytes: Buffer, start: number, end: number, offset: number, truncated: boolean): void {
    let line = bytes.toString("utf8", start, end);
    if (this.#match && !this.#match.test(line)) return;
    if (line.length * 6 > MAX_JSON) {
      const cut = fitJson(line);
      truncated ||= cut.length < line.length;
      line = cut;
    }
    this.#bytes += end - start;
    const data = { line, file: this.#file, offset };
    this.#events.push({
      type: this.#type,
      id,
      subject: this.#subject,
      data: truncated ? { ...data, truncated } : data,
    });
  }

  addNotice(type: string, id: string, data: Record<string, Json>): void {
    const subject = this.#subject;
    this.#events.push({ type, id, subject, severity: "notice", data: { file: this.#file, ...data } });
  }

  take(): ProposedEvent[] {
    const events = this.#events;
    this.#events = [];
    this.#bytes = 0;
    return events;
  }
}

/** As much of a line's beginning as fits an event. */
function fitJson(line: string): string {
  let text = line;
  for (let size = JSON.stringify(text).length; size > MAX_JSON; size = JSON.stringify(text).length) {
    let length = Math.floor((text.length * MAX_JSON) / size) - 1;
    // Not between the halves of a surrogate pair.
    if ((text.charCodeAt(length - 1) & 0xfc00) === 0xd800) length--;
    text = text.slice(0, length);
  }
  return text;
}
