import type { Clock } from "../../core/clock.ts";
import type { HoldfastError } from "../../core/errors.ts";
import { agentFrames, hubFrames } from "../../protocol/cbor-frames.ts";
import type { AgentFrame, HubFrame } from "../../protocol/gen/holdfast/v1/sync.ts";
import { SealedChannel } from "../../protocol/sealed-channel.ts";
import type { DroppedMessage, Opener, Sealer } from "../../protocol/sealed-session.ts";
import type { AgentStream } from "./agent-stream.ts";
import type { PeerIdentity } from "./peer-certificate.ts";

export interface MqttStreamOptions {
  identity: PeerIdentity;
  sealer: Sealer;
  opener: Opener;
  clock: Clock;
  publish(message: Buffer): Promise<void>;
  onDropped: (dropped: DroppedMessage) => void;
  keepaliveMs?: number | undefined;
}

/** One agent's session through a broker as a stream of frames. */
export class MqttAgentStream implements AgentStream {
  readonly agentId: string;
  readonly certificateSerial: string;
  readonly publicKey: Uint8Array;
  /** The broker hides where it comes from. */
  readonly peer = "broker";
  readonly transport = "mqtt";
  readonly frames: AsyncIterable<AgentFrame>;
  readonly #channel: SealedChannel<AgentFrame, HubFrame>;

  constructor(options: MqttStreamOptions) {
    const { identity, sealer, opener, clock, publish, onDropped, keepaliveMs } = options;
    this.agentId = identity.agentId;
    this.certificateSerial = identity.serial;
    this.publicKey = identity.publicKey;
    this.#channel = new SealedChannel({
      sealer,
      opener,
      incoming: agentFrames,
      outgoing: hubFrames,
      publish,
      clock,
      onDropped,
      // What it sent before is still to be read and answered; `end` follows.
      onPeerEnd: () => this.#channel.endFrames(),
      onBroken: (error) => this.end(error),
      keepaliveMs,
    });
    this.frames = this.#channel.frames;
  }

  send(frame: HubFrame): Promise<void> {
    return this.#channel.send(frame);
  }

  receive(message: Uint8Array): void {
    this.#channel.receive(message);
  }

  /** The broker says that the agent is gone. */
  doubt(): void {
    this.#channel.probe();
  }

  end(error?: HoldfastError): void {
    void this.#channel.sayEnd(error?.code ?? "", error?.message ?? "");
    this.#channel.stop();
  }
}
