import type { Json } from "../../../model/json.ts";
import { type PartialTaking, parsePartial } from "../../../model/output-batch.ts";
import type { AttemptOutcome } from "../../../model/run-transitions.ts";
import { type Cut, unknown } from "../call-outcome.ts";
import type { ChunkSource } from "./chunk-source.ts";
import { MAX_LINE_BYTES, own, parseJson, stepErrorOf } from "./json-line.ts";
import { type RunningScript, type ScriptEnd, type ScriptStart } from "./running-script.ts";

/** Of other output so much is kept. */
const MAX_RAW_BYTES = 64 * 1024;

/** stdout of one call: whole while it may be JSON, then only its beginning. */
export class CallOutput {
  #chunks: Uint8Array[] = [];
  #bytes = 0;

  /** For `ScriptStart.consume`. */
  readonly consume: ScriptStart["consume"] = async (stdout: ChunkSource, running: RunningScript) => {
    for (let chunk = await stdout.read(); chunk; chunk = await stdout.read()) {
      running.spend(chunk.length);
      this.add(chunk);
    }
  };

  add(chunk: Uint8Array): void {
    const before = this.#bytes;
    this.#bytes += chunk.length;
    if (this.#bytes <= MAX_LINE_BYTES) this.#chunks.push(chunk);
    else if (before <= MAX_LINE_BYTES) this.#chunks = [this.#head(Buffer.concat([...this.#chunks, chunk]))];
  }

  json(): Json | undefined {
    if (this.#bytes > MAX_LINE_BYTES) return undefined;
    return parseJson(Buffer.concat(this.#chunks).toString("utf8").trim());
  }

  /** The beginning of what it printed. */
  text(): string {
    return new TextDecoder().decode(this.#head(Buffer.concat(this.#chunks)), { stream: true });
  }

  /** What a plain program printed. */
  raw(): Json {
    const bytes = Buffer.concat(this.#chunks);
    if (this.#bytes <= MAX_RAW_BYTES) return { raw_output: bytes.toString("utf8") };
    // `stream` leaves a character out that the limit cut in two.
    const text = new TextDecoder().decode(this.#head(bytes), { stream: true });
    return { raw_output: text, truncated: true, bytes: this.#bytes };
  }

  #head(bytes: Uint8Array): Uint8Array {
    return bytes.slice(0, MAX_RAW_BYTES);
  }
}

/** What the end of a script's process means for the call that it was started for. */
export function onceOutcome(
  name: string,
  end: ScriptEnd,
  output: CallOutput,
  cut: Cut | undefined,
): AttemptOutcome {
  const told = end.code !== null && end.code !== 0 ? toldError(output) : undefined;
  if (cut) {
    if (told && !told.started) return { kind: "error", error: told };
    return unknown(cut.code, `${name}: ${cut.message}`);
  }
  if (end.killed !== undefined) return unknown(end.killed, `${name}: ${end.reason}`);
  if (end.code === 0) return { kind: "ok", output: output.json() ?? output.raw() };
  const { cause, text } = end.verdict;
  // Ended from outside in the middle of its work: nobody can say what was done.
  if (end.code === null) return unknown(cause, `${name}: ${text}`);
  if (told) return { kind: "error", error: told };
  const code = cause === "exited" || cause === "crashed" ? "failed" : cause;
  const why = end.stderr === "" ? "and wrote nothing to stderr" : end.stderr;
  const message = `${name} ended with exit code ${end.code}${cause === "exited" ? "" : ` (${text})`}: ${why}`;
  return { kind: "error", error: { code, message, retryable: true, started: true } };
}

/** How much of a batch an output took, as `{"error": {"taken", "rejected"}}` on stdout says. */
export function toldPartial(output: CallOutput): PartialTaking | undefined {
  return parsePartial(errorIn(output));
}

/** `{"error": …}` on stdout. */
function toldError(output: CallOutput) {
  const error = errorIn(output);
  return error === undefined ? undefined : stepErrorOf(error);
}

function errorIn(output: CallOutput): Json | undefined {
  const json = output.json();
  if (typeof json !== "object" || json === null || Array.isArray(json)) return undefined;
  return own(json, "error");
}
