import { isIP } from "node:net";
import { checkServerIdentity } from "node:tls";
import type { ServiceError, StatusObject } from "@grpc/grpc-js";
import { ERROR_CODES, type ErrorCode, HoldfastError } from "../core/errors.ts";
import type { SyncClient } from "./gen/holdfast/v1/sync.ts";
import { MAX_FRAME_BYTES } from "./transport.ts";
import type { HubAddress } from "./transport-address.ts";

/** Trailer in which the hub says its own code; a status without it comes from grpc-js or the network. */
export const CODE_TRAILER = "holdfast-code";

/** Room over the frame limit for what protobuf and gRPC add. */
export const MESSAGE_LIMIT = MAX_FRAME_BYTES + 64 * 1024;
export const WINDOW_BYTES = 1 << 20;
export const KEEPALIVE_MS = 20_000;
export const KEEPALIVE_TIMEOUT_MS = 10_000;

/** What a hub says is shown and logged; no more of it than this. */
const MAX_DETAILS = 1000;
const PLACEHOLDER_NAME = "hub.holdfast.invalid";

export interface ClientTls {
  /** PEM; nothing else is trusted, not the system's store either. */
  ca: string;
  /** PEM; absent only for enrollment. */
  identity?: { key: string; certificate: string };
}

/**
 * A client with one connection of its own. grpc-js is loaded here and nowhere else on the agent, so that an agent
 * without a hub stays small.
 */
export async function openSyncClient(address: HubAddress, tls: ClientTls): Promise<SyncClient> {
  const [{ credentials }, { SyncClient }] = await Promise.all([
    import("@grpc/grpc-js"),
    import("./gen/holdfast/v1/sync.ts"),
  ]);
  const { host } = address;
  const secure = credentials.createSsl(
    Buffer.from(tls.ca),
    tls.identity ? Buffer.from(tls.identity.key) : null,
    tls.identity ? Buffer.from(tls.identity.certificate) : null,
    // Said explicitly so that NODE_TLS_REJECT_UNAUTHORIZED=0 changes nothing. The host is compared here because with an
    // IP target the name below is only a placeholder.
    {
      checkServerIdentity: (_name, certificate) => checkServerIdentity(host, certificate),
      rejectUnauthorized: true,
    },
  );
  return new SyncClient(address.text, secure, {
    // SNI cannot be an IP: Bun refuses to connect.
    ...(isIP(host) ? { "grpc.ssl_target_name_override": PLACEHOLDER_NAME } : {}),
    "grpc.enable_http_proxy": 0,
    "grpc.use_local_subchannel_pool": 1,
    "grpc.service_config_disable_resolution": 1,
    "grpc.keepalive_time_ms": KEEPALIVE_MS,
    "grpc.keepalive_timeout_ms": KEEPALIVE_TIMEOUT_MS,
    "grpc.keepalive_permit_without_calls": 1,
    "grpc.max_receive_message_length": MESSAGE_LIMIT,
    "grpc.max_send_message_length": MESSAGE_LIMIT,
    "grpc.initial_reconnect_backoff_ms": 500,
    "grpc.max_reconnect_backoff_ms": 30_000,
    "grpc.enable_retries": 0,
    "grpc-node.flow_control_window": WINDOW_BYTES,
  });
}

/** What the hub itself said with a status, as an error of ours; null when the hub said nothing. */
export function hubError(status: ServiceError | StatusObject): HoldfastError | null {
  const said = status.metadata?.get(CODE_TRAILER)[0];
  if (typeof said !== "string" || !Object.hasOwn(ERROR_CODES, said)) return null;
  return new HoldfastError(said as ErrorCode, `the hub says: ${status.details.slice(0, MAX_DETAILS)}`);
}
