import type { Clock } from "../../core/clock.ts";
import { ERROR_CODES, type ErrorCode, HoldfastError } from "../../core/errors.ts";
import type { AgentFrame, Hello, HubFrame, Welcome } from "../../protocol/gen/holdfast/v1/sync.ts";
import { agentFrames, hubFrames } from "../../protocol/cbor-frames.ts";
import type { BrokerClient } from "../../protocol/mqtt-client.ts";
import { SealedChannel } from "../../protocol/sealed-channel.ts";
import type { DroppedMessage, Opener, Sealer } from "../../protocol/sealed-session.ts";
import type { Session, SessionEnd } from "../../protocol/transport.ts";
import { frameBytes, requireFrameFits } from "../../protocol/transport-frames.ts";

/** How long a good-bye may take before the connection is dropped. */
const GOODBYE_MS = 1000;

export interface MqttSessionOptions {
  client: BrokerClient;
  clock: Clock;
  up: string;
  sealer: Sealer;
  opener: Opener;
  onDropped: (dropped: DroppedMessage) => void;
  keepaliveMs?: number | undefined;
}

/** One session over one connection to the broker; see Session for what it promises. */
export class MqttSession implements Session {
  readonly closed: Promise<SessionEnd>;
  readonly frames: AsyncIterable<HubFrame>;
  welcome!: Welcome;
  readonly #client: BrokerClient;
  readonly #clock: Clock;
  readonly #channel: SealedChannel<HubFrame, AgentFrame>;
  #resolveClosed!: (end: SessionEnd) => void;
  #end: SessionEnd | undefined;
  #closing = false;
  #why = "";

  constructor(options: MqttSessionOptions) {
    const { client, clock, up, sealer, opener, onDropped, keepaliveMs } = options;
    this.#client = client;
    this.#clock = clock;
    this.closed = new Promise((resolve) => (this.#resolveClosed = resolve));
    this.#channel = new SealedChannel({
      sealer,
      opener,
      incoming: hubFrames,
      outgoing: agentFrames,
      publish: (message) => client.publish(up, message),
      clock,
      onDropped,
      onPeerEnd: (code, message) => this.#finish(endOf(code, message, this.#closing ? this.#why : undefined)),
      onBroken: (error) => this.abandon(error.message),
      keepaliveMs,
    });
    this.frames = this.#channel.frames;
  }

  /** Says hello and resolves with the hub's welcome; rejects when the session ends before that. */
  async start(hello: Hello): Promise<void> {
    await this.send({ frame: { $case: "hello", value: hello } });
    for await (const { frame } of this.frames) {
      // An error frame before the welcome only announces the end that follows, which says the same.
      if (frame?.$case === "error") continue;
      if (frame?.$case !== "welcome") {
        this.abandon("the hub did not begin with a welcome");
        break;
      }
      this.welcome = frame.value;
      return;
    }
    const { code, message } = await this.closed;
    throw new HoldfastError(code ?? "unreachable", message);
  }

  async send(frame: AgentFrame): Promise<void> {
    requireFrameFits(frameBytes(frame));
    this.#requireOpen();
    await this.#channel.send(frame);
    if (this.#end) this.#requireOpen();
  }

  /** A message on the topic of what goes down. */
  receive(message: Uint8Array): void {
    this.#channel.receive(message);
  }

  /** Somebody says that the hub has no such session. */
  doubt(): void {
    this.#channel.probe();
  }

  close(why = "the agent closed the session"): void {
    if (this.#end || this.#closing) return;
    this.#closing = true;
    this.#why = why;
    void this.#channel.sayEnd();
    const cancel = this.#clock.after(GOODBYE_MS, () => this.abandon(why));
    void this.closed.then(cancel);
  }

  /** Over, without waiting for anybody. */
  abandon(why: string): void {
    const by = this.#closing ? "agent" : "network";
    this.#finish({ by, code: this.#closing ? null : "unreachable", message: why });
  }

  #finish(end: SessionEnd): void {
    if (this.#end) return;
    this.#end = end;
    this.#channel.stop();
    this.#resolveClosed(end);
    // Without a good-bye where the network broke: the broker then publishes the last will.
    if (end.by === "network") this.#client.drop();
    else void this.#client.end();
  }

  #requireOpen(): void {
    if (this.#end) throw new HoldfastError("unreachable", `the session is over: ${this.#end.message}`);
    if (this.#closing) throw new HoldfastError("unreachable", "the session is being closed");
  }
}

function endOf(code: string, message: string, closing: string | undefined): SessionEnd {
  if (code !== "") {
    const known = Object.hasOwn(ERROR_CODES, code) ? (code as ErrorCode) : "failed";
    return { by: "hub", code: known, message: `the hub says: ${message}` };
  }
  if (closing !== undefined) return { by: "agent", code: null, message: closing };
  return { by: "hub", code: null, message: "the hub closed the session" };
}
