import type { Json, JsonObject } from "../../model/json.ts";
import { ActionError } from "../../sdk/holdfast.ts";
import type { DownFrame, UpFrame } from "./frames.ts";

type Answer = Extract<DownFrame, { kind: "host_result" | "host_error" }>;

/** The plugin host's side of host operations: asks the agent, and gives the plugin its answer. */
export class HostAsker {
  readonly #send: (frame: UpFrame) => void;
  readonly #waiting = new Map<number, { resolve(result: Json): void; reject(error: Error): void }>();
  #lastId = 0;

  constructor(send: (frame: UpFrame) => void) {
    this.#send = send;
  }

  ask(operation: string, args: JsonObject): Promise<Json> {
    const id = ++this.#lastId;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#send({ kind: "host", id, operation, arguments: args });
    });
  }

  answered(frame: Answer): void {
    const waiting = this.#waiting.get(frame.id);
    this.#waiting.delete(frame.id);
    if (frame.kind === "host_result") return waiting?.resolve(frame.result);
    const { code, message } = frame.error;
    const refused = code === "denied" || code === "invalid";
    waiting?.reject(new ActionError(message, { code, retryable: !refused, started: !refused }));
  }
}
