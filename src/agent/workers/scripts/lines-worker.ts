import type { Json, JsonObject } from "../../../model/json.ts";
import { own, MAX_LINE_BYTES, parseObject, stepErrorOf } from "./json-line.ts";
import { readLines } from "./read-lines.ts";
import { RunningScript, type ScriptEnd, type ScriptStart } from "./running-script.ts";
import type { ScriptPorts } from "./ports.ts";
import { type PartialTaking, parsePartial } from "../../../model/output-batch.ts";
import type { StepError } from "../../../model/run.ts";

/** Requests that it has not read yet; it does not get more. */
const MAX_UNREAD_BYTES = 16 * 1024 * 1024;

/** `partial`: how much of a batch an output took all the same. */
export type LineAnswer = { data: Json } | { error: StepError; partial?: PartialTaking | undefined };

/** How a request ended: with its answer, or with the script. */
export type LineEnd = { answer: LineAnswer } | { end: ScriptEnd };

/**
 * A script that stays: `{"id", "action", …}` on its stdin, `{"id", "success", "data" | "error"}` on its stdout, a line each,
 * many at once and in any order. Every other line is its log.
 */
export class LinesWorker {
  readonly ended: Promise<ScriptEnd>;
  readonly #running: RunningScript;
  readonly #pending: Map<number, (answer: LineEnd) => void>;
  #lastId = 0;
  #end: ScriptEnd | undefined;

  static async start(
    options: Omit<ScriptStart, "consume" | "budget">,
    ports: ScriptPorts,
  ): Promise<LinesWorker> {
    const pending = new Map<number, (answer: LineEnd) => void>();
    const running = await RunningScript.start(
      {
        ...options,
        budget: "minute",
        consume: (stdout, running) =>
          readLines(stdout, MAX_LINE_BYTES, (lines) => {
            for (const { text, cutFrom } of lines) {
              if (cutFrom > 0 || !settle(pending, text)) running.raw(text, cutFrom);
            }
          }),
      },
      ports,
    );
    return new LinesWorker(running, pending);
  }

  private constructor(running: RunningScript, pending: Map<number, (answer: LineEnd) => void>) {
    this.#running = running;
    this.#pending = pending;
    this.ended = running.ended.then((end) => {
      this.#end = end;
      for (const resolve of pending.values()) resolve({ end });
      pending.clear();
      return end;
    });
  }

  get dying(): boolean {
    return this.#running.dying;
  }

  /** False when it has not read what it was sent before. */
  get reads(): boolean {
    return this.#running.unwritten <= MAX_UNREAD_BYTES;
  }

  /** Sends one request. `id` is for `cancel` and `forget`. */
  request(action: string, fields: JsonObject): { id: number; done: Promise<LineEnd> } {
    const id = ++this.#lastId;
    if (this.#end) return { id, done: Promise.resolve({ end: this.#end }) };
    const done = new Promise<LineEnd>((resolve) => this.#pending.set(id, resolve));
    this.#running.write(`${JSON.stringify({ id, action, ...fields })}\n`);
    return { id, done };
  }

  /** Asks it to end one request; its answer still counts. */
  cancel(id: number): void {
    this.#running.write(`${JSON.stringify({ id, action: "cancel" })}\n`);
  }

  /** An answer that comes later is of no interest. */
  forget(id: number): void {
    this.#pending.delete(id);
  }

  kill(reason: string): void {
    this.#running.kill("time", reason);
  }

  /** The end of its stdin is the sign to finish what is under way and to go. */
  stop(graceMs: number): Promise<void> {
    return this.#running.stop(graceMs, graceMs / 2);
  }
}

/** True when the line answers a request that is waited for; a flood of any others counts as what it prints. */
function settle(pending: Map<number, (answer: LineEnd) => void>, line: string): boolean {
  const answer = parseObject(line);
  const success = answer && own(answer, "success");
  // Shells find it easier to give the number back as text.
  const id = answer && Number(own(answer, "id"));
  if (!answer || typeof success !== "boolean" || !Number.isSafeInteger(id)) return false;
  const resolve = pending.get(id!);
  if (!resolve) return false;
  pending.delete(id!);
  if (success) resolve({ answer: { data: own(answer, "data") ?? null } });
  else {
    const error = own(answer, "error");
    resolve({ answer: { error: stepErrorOf(error), partial: parsePartial(error) } });
  }
  return true;
}
