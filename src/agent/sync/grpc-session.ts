import type { ClientDuplexStream, StatusObject } from "@grpc/grpc-js";
import type { Clock } from "../../core/clock.ts";
import { HoldfastError } from "../../core/errors.ts";
import type {
  AgentFrame,
  Hello,
  HubFrame,
  SyncClient,
  Welcome,
} from "../../protocol/gen/holdfast/v1/sync.ts";
import type { Session, SessionEnd } from "../../protocol/transport.ts";
import { frameBytes, requireFrameFits } from "../../protocol/transport-frames.ts";
import { hubError } from "../../protocol/transport-grpc.ts";
import { FrameQueue } from "../../protocol/transport-queue.ts";

/** Bytes handed to grpc-js and not yet taken by the network, over which `send` waits. */
const UNSENT_BYTES = 1 << 20;
const QUEUED_FRAMES = 256;
/** How long a good-bye may take before the connection is dropped. */
const GOODBYE_MS = 1000;

/** One stream on one connection; see Session for what it promises. */
export class GrpcSession implements Session {
  readonly closed: Promise<SessionEnd>;
  readonly frames: FrameQueue<HubFrame>;
  welcome!: Welcome;
  readonly key: string;
  readonly #client: SyncClient;
  readonly #call: ClientDuplexStream<AgentFrame, HubFrame>;
  readonly #clock: Clock;
  readonly #waiting = new Set<() => void>();
  #resolveClosed!: (end: SessionEnd) => void;
  #welcomed: ((welcome: Welcome) => void) | undefined;
  #end: SessionEnd | undefined;
  #unsent = 0;
  #closing = false;

  constructor(client: SyncClient, clock: Clock, key: string) {
    this.key = key;
    this.#client = client;
    this.#clock = clock;
    this.closed = new Promise((resolve) => (this.#resolveClosed = resolve));
    this.#call = client.connect();
    // Read from the first moment on: a stream paused before its first message buffers without bound.
    this.frames = new FrameQueue(QUEUED_FRAMES, {
      pause: () => this.#call.pause(),
      resume: () => this.#call.resume(),
    });
    this.#call.on("data", (frame: HubFrame) => this.#receive(frame));
    this.#call.on("error", () => {});
    this.#call.on("status", (status: StatusObject) => this.#finish(endOf(status, this.#closing)));
  }

  /** Says hello and resolves with the hub's welcome; rejects when the session ends before that. */
  async start(hello: Hello): Promise<void> {
    const welcomed = new Promise<Welcome>((resolve) => (this.#welcomed = resolve));
    await this.send({ frame: { $case: "hello", value: hello } });
    const first = await Promise.race([welcomed, this.closed]);
    if ("by" in first) throw new HoldfastError(first.code ?? "unreachable", first.message);
    this.welcome = first;
  }

  async send(frame: AgentFrame): Promise<void> {
    const bytes = frameBytes(frame);
    requireFrameFits(bytes);
    this.#requireOpen();
    this.#unsent += bytes;
    this.#call.write(frame, () => {
      this.#unsent -= bytes;
      if (this.#unsent <= UNSENT_BYTES) this.#wakeSenders();
    });
    while (this.#unsent > UNSENT_BYTES && !this.#end) {
      await new Promise<void>((resolve) => this.#waiting.add(resolve));
    }
    this.#requireOpen();
  }

  close(): void {
    if (this.#end || this.#closing) return;
    this.#closing = true;
    this.#call.end();
    const cancel = this.#clock.after(GOODBYE_MS, () => this.abandon("the agent closed the session"));
    void this.closed.then(cancel);
  }

  /** Drops the connection at once. */
  abandon(why: string): void {
    this.#finish({
      by: this.#closing ? "agent" : "network",
      code: this.#closing ? null : "unreachable",
      message: why,
    });
    this.#call.cancel();
  }

  #receive(frame: HubFrame): void {
    if (this.#welcomed === undefined) return this.frames.push(frame);
    if (frame.frame?.$case === "welcome") {
      this.#welcomed(frame.frame.value);
      this.#welcomed = undefined;
    } else if (frame.frame?.$case !== "error") {
      this.abandon("the hub did not begin with a welcome");
    }
    // An error frame before the welcome only announces the status that follows, which says the same.
  }

  #finish(end: SessionEnd): void {
    if (this.#end) return;
    this.#end = end;
    this.frames.end();
    this.#wakeSenders();
    this.#resolveClosed(end);
    this.#client.close();
  }

  #requireOpen(): void {
    if (this.#end) throw new HoldfastError("unreachable", `the session is over: ${this.#end.message}`);
    if (this.#closing) throw new HoldfastError("unreachable", "the session is being closed");
  }

  #wakeSenders(): void {
    for (const wake of this.#waiting) wake();
    this.#waiting.clear();
  }
}

function endOf(status: StatusObject, closing: boolean): SessionEnd {
  const said = hubError(status);
  if (said) return { by: "hub", code: said.code, message: said.message };
  if (closing) return { by: "agent", code: null, message: "the agent closed the session" };
  if (status.code === 0) return { by: "hub", code: null, message: "the hub closed the session" };
  return { by: "network", code: "unreachable", message: status.details };
}
