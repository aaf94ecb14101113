import type { Metadata, ServerDuplexStream } from "@grpc/grpc-js";
import type { TLSSocket } from "node:tls";
import { ERROR_CODES, HoldfastError } from "../../core/errors.ts";
import type { AgentFrame, HubFrame } from "../../protocol/gen/holdfast/v1/sync.ts";
import { CODE_TRAILER, WINDOW_BYTES } from "../../protocol/transport-grpc.ts";
import { FrameQueue } from "../../protocol/transport-queue.ts";
import type { AgentStream } from "./agent-stream.ts";
import type { PeerIdentity } from "./peer-certificate.ts";

/** A frame may have 4 MB: few wait decoded, the rest waits in HTTP/2's window. */
const QUEUED_FRAMES = 4;

export type SyncCall = ServerDuplexStream<AgentFrame, HubFrame>;

/** The parts of grpc-js and Bun's http2 behind a call that have no public way in; the package is pinned for this. */
interface CallInside {
  call?: { stream?: { session?: { socket?: TLSSocket; setLocalWindowSize?(bytes: number): void } } };
}

/** One gRPC call as a stream of frames. */
export class GrpcAgentStream implements AgentStream {
  readonly agentId: string;
  readonly certificateSerial: string;
  readonly publicKey: Uint8Array;
  readonly peer: string;
  readonly transport = "grpc";
  readonly frames: FrameQueue<AgentFrame>;
  readonly #call: SyncCall;
  readonly #metadata: () => Metadata;
  readonly #waiting = new Set<() => void>();
  #over = false;

  constructor(call: SyncCall, identity: PeerIdentity, metadata: () => Metadata) {
    this.#call = call;
    this.#metadata = metadata;
    this.agentId = identity.agentId;
    this.certificateSerial = identity.serial;
    this.publicKey = identity.publicKey;
    this.peer = call.getPeer();
    this.frames = new FrameQueue(QUEUED_FRAMES, {
      pause: () => call.pause(),
      resume: () => call.resume(),
    });
    call.on("data", (frame: AgentFrame) => this.frames.push(frame));
    call.on("end", () => this.frames.end());
    for (const event of ["cancelled", "close", "error"]) call.on(event, () => this.#stop());
  }

  async send(frame: HubFrame): Promise<void> {
    if (this.#over || this.#call.write(frame)) return;
    await new Promise<void>((resolve) => {
      this.#waiting.add(resolve);
      this.#call.once("drain", resolve);
    });
  }

  end(error?: HoldfastError): void {
    if (this.#over) return;
    if (error) this.#call.emit("error", statusOf(error, this.#metadata()));
    else this.#call.end();
    this.#stop();
  }

  #stop(): void {
    this.#over = true;
    this.frames.end();
    for (const wake of this.#waiting) wake();
    this.#waiting.clear();
  }
}

/** An error as a gRPC status with our own code beside it. */
export function statusOf(error: HoldfastError, metadata: Metadata) {
  metadata.set(CODE_TRAILER, error.code);
  return { code: ERROR_CODES[error.code].grpc, details: error.message, metadata };
}

export function socketOf(call: object): TLSSocket | undefined {
  return (call as CallInside).call?.stream?.session?.socket;
}

/** grpc-js has no option for the server's connection window: 64 KB would allow 64 KB a round trip. */
export function widenWindow(call: object): void {
  (call as CallInside).call?.stream?.session?.setLocalWindowSize?.(2 * WINDOW_BYTES);
}
