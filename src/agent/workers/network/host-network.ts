import type { Duplex } from "node:stream";
import { HoldfastError } from "../../../core/errors.ts";
import { ChannelStream, type NetFrame } from "./channel-stream.ts";

interface Opening {
  stream: ChannelStream;
  opened: () => void;
}

/** The worker's side of connections over its channel. */
export class HostNetwork {
  readonly #send: (frame: NetFrame) => void;
  readonly #streams = new Map<number, Opening>();
  #last = 0;

  constructor(send: (frame: NetFrame) => void) {
    this.#send = send;
  }

  /** A connection by way of the agent; rejects with why there is none. */
  connect(host: string, port: number): Promise<Duplex> {
    const id = ++this.#last;
    const stream = new ChannelStream({ id, send: this.#send });
    return new Promise((resolve, reject) => {
      stream.on("error", (error) => reject(error));
      stream.once("close", () => {
        this.#streams.delete(id);
        reject(new HoldfastError("unreachable", `network ${host}:${port}: the connection was closed`));
      });
      this.#streams.set(id, { stream, opened: () => resolve(stream) });
      this.#send({ kind: "net_open", id, host, port });
    });
  }

  /** Frames of the agent, which are what they say. */
  receive(frame: NetFrame): void {
    const opening = this.#streams.get(frame.id);
    if (frame.kind === "net_opened") opening?.opened();
    else opening?.stream.receive(frame);
  }
}
