import * as v from "valibot";
import type { Json, JsonObject } from "../../model/json.ts";

/** Variables by which a script finds its channel. */
export const CALL_FD = "HOLDFAST_CALL_FD";
export const CALL_TOKEN = "HOLDFAST_CALL_TOKEN";

/** One line of either side. */
export const MAX_CALL_BYTES = 1024 * 1024;

/**
 * Script to agent, one JSON object a line. Several processes share the channel and one may be killed in the middle of a line:
 * each request begins with a newline, and empty lines mean nothing.
 */
export const callRequestSchema = v.strictObject({
  id: v.pipe(v.string(), v.minLength(1), v.maxLength(64)),
  token: v.pipe(v.string(), v.maxLength(200)),
  verb: v.pipe(v.string(), v.maxLength(100)),
  args: v.optional(v.record(v.string(), v.any()), {}),
});
export interface CallRequest {
  id: string;
  token: string;
  verb: string;
  args: JsonObject;
}

/** Agent to script. */
export type CallAnswer =
  | { id: string; ok: true; result: Json }
  | { id: string; ok: false; error: { code: string; message: string } };

const answerSchema = v.variant("ok", [
  v.object({ id: v.string(), ok: v.literal(true), result: v.any() }),
  v.object({
    id: v.string(),
    ok: v.literal(false),
    error: v.object({ code: v.string(), message: v.string() }),
  }),
]);

/** null for anything that is not an answer: the rest of a line whose reader was killed. */
export function parseAnswer(line: string): CallAnswer | null {
  try {
    const parsed = v.safeParse(answerSchema, JSON.parse(line));
    return parsed.success ? (parsed.output as CallAnswer) : null;
  } catch {
    return null;
  }
}

/** Cuts a byte stream into lines of at most MAX_CALL_BYTES; a longer one is told as null, once, and left out. */
export class LineCutter {
  #chunks: Buffer[] = [];
  #size = 0;
  #skipping = false;

  push(chunk: Buffer, onLine: (line: string | null) => void): void {
    let rest = chunk;
    for (let end = rest.indexOf(0x0a); end !== -1; end = rest.indexOf(0x0a)) {
      this.#add(rest.subarray(0, end), onLine);
      if (!this.#skipping && this.#size > 0) onLine(Buffer.concat(this.#chunks, this.#size).toString("utf8"));
      this.#chunks = [];
      this.#size = 0;
      this.#skipping = false;
      rest = rest.subarray(end + 1);
    }
    this.#add(rest, onLine);
  }

  #add(part: Buffer, onLine: (line: null) => void): void {
    if (this.#skipping || part.length === 0) return;
    this.#chunks.push(Buffer.from(part));
    this.#size += part.length;
    if (this.#size <= MAX_CALL_BYTES) return;
    this.#chunks = [];
    this.#size = 0;
    this.#skipping = true;
    onLine(null);
  }
}
