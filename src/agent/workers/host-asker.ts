import type { Json, JsonObject } from "../../model/json.ts";
import type { MemoryRequest } from "../../model/memory-request.ts";
import type { Addition } from "../../model/pipeline.ts";
import { ActionError } from "../../sdk/holdfast.ts";
import type { DownFrame, UpFrame } from "./frames.ts";

const ANSWERS = ["host_result", "host_error", "added", "add_error", "memory_result", "memory_error"] as const;
type Answer = Extract<DownFrame, { kind: (typeof ANSWERS)[number] }>;

export function isAnswer(frame: DownFrame): frame is Answer {
  return (ANSWERS as readonly string[]).includes(frame.kind);
}

/** The plugin host's side of what a plugin asks of the agent: host operations, and steps that a call adds. */
export class HostAsker {
  readonly #send: (frame: UpFrame) => void;
  readonly #waiting = new Map<number, { resolve(result: Json): void; reject(error: Error): void }>();
  #lastId = 0;

  constructor(send: (frame: UpFrame) => void) {
    this.#send = send;
  }

  ask(operation: string, args: JsonObject): Promise<Json> {
    return this.#request((id) => ({ kind: "host", id, operation, arguments: args }));
  }

  async add(call: number, additions: Addition[]): Promise<void> {
    await this.#request((id) => ({ kind: "add", id, call, additions }));
  }

  /** For a call of an action by its number, or for the worker itself. */
  memory(call: number | null, request: MemoryRequest): Promise<Json> {
    return this.#request((id) => ({ kind: "memory", id, call, request }));
  }

  answered(frame: Answer): void {
    const waiting = this.#waiting.get(frame.id);
    this.#waiting.delete(frame.id);
    if (frame.kind === "host_result") return waiting?.resolve(frame.result);
    if (frame.kind === "memory_result") return waiting?.resolve(frame.result);
    if (frame.kind === "memory_error") return waiting?.reject(memoryError(frame.error));
    if (frame.kind === "added") return waiting?.resolve(null);
    waiting?.reject(frame.kind === "add_error" ? additionError(frame.error) : operationError(frame.error));
  }

  #request(frame: (id: number) => UpFrame): Promise<Json> {
    const id = ++this.#lastId;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#send(frame(id));
    });
  }
}

function operationError({ code, message }: { code: string; message: string }): ActionError {
  const refused = code === "denied" || code === "invalid";
  return new ActionError(message, { code, retryable: !refused, started: !refused });
}

function memoryError({ code, message }: { code: string; message: string }): ActionError {
  const lasting = ["denied", "invalid", "too_large", "conflict"].includes(code);
  return new ActionError(message, { code, retryable: !lasting });
}

/** The action has begun, so that an error of what it adds does not vouch for anything. */
function additionError({ code, message }: { code: string; message: string }): ActionError {
  return new ActionError(message, { code, retryable: code !== "invalid" && code !== "conflict" });
}
