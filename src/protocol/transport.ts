import type { ErrorCode } from "../core/errors.ts";
import type { AgentFrame, Hello, HubFrame, Welcome } from "./gen/holdfast/v1/sync.ts";

/** Version of the frames' meaning; both sides say it in hello and welcome. */
export const PROTOCOL_VERSION = 1;

/** Largest frame on the wire: what grpc-js takes by default, made explicit on both sides. */
export const MAX_FRAME_BYTES = 4 * 1024 * 1024;

/** Why a session is over. Settled exactly once, also when the session never said good-bye. */
export interface SessionEnd {
  by: "agent" | "hub" | "network";
  /** The hub's code, or `unreachable` when the network broke; null for a plain good-bye. */
  code: ErrorCode | null;
  message: string;
}

/**
 * One established session with the hub: welcomed, and alive until `closed` settles. The contract suite in
 * src/testing/transport-contract.ts says what every transport does.
 */
export interface Session {
  /** Private key of the certificate that this side showed, PEM: it signs loss records. */
  readonly key?: string;
  readonly welcome: Welcome;
  /**
   * Hands a frame to the transport; resolves when there is room for the next one (back-pressure), which is no promise
   * that the hub has it. Rejects `unreachable` once the session is over and `too_large` over MAX_FRAME_BYTES.
   */
  send(frame: AgentFrame): Promise<void>;
  /** Frames of the hub after its welcome, in order; ends when the session does. One reader. */
  readonly frames: AsyncIterable<HubFrame>;
  readonly closed: Promise<SessionEnd>;
  /** Says good-bye: what was sent before still goes out. Does nothing when the session is over. `why` is for `closed`. */
  close(why?: string): void;
}

/** The agent's side of whatever carries frames (gRPC, MQTT). */
export interface Transport {
  readonly name: string;
  /**
   * Dials, authenticates both sides, says hello and waits for the welcome. Throws a HoldfastError whose message says
   * what to do; never hangs longer than the transport's own deadline.
   */
  connect(hello: Hello, signal: AbortSignal): Promise<Session>;
}
