import type { SyncStatus } from "./sync-status.ts";
import { Sync, type SyncOptions } from "./sync.ts";
import type { Transport } from "../../protocol/transport.ts";
import { parseBrokerUrl } from "../../protocol/transport-address.ts";
import { FailoverTransport } from "./failover-transport.ts";
import { type GrpcTransport, grpcTransport } from "./grpc-transport.ts";

export interface StartSyncOptions extends Omit<SyncOptions, "transport"> {
  /** `grpcs://host:port` */
  url: string;
  /** A broker to use while the hub cannot be reached by gRPC for so long. */
  mqtt?: { url: string; failoverAfterMs: number } | undefined;
  /** Folder with ca.crt, agent.crt and agent.key. */
  certificates: string;
}

/** gRPC, and a broker while that fails. What speaks MQTT is loaded when it is first needed. */
function withBroker(
  { certificates, clock, ids, log }: StartSyncOptions,
  { url, failoverAfterMs }: { url: string; failoverAfterMs: number },
  preferred: GrpcTransport,
): Transport {
  parseBrokerUrl(url);
  let loaded: Transport | undefined;
  const other: Transport = {
    name: "mqtt",
    async connect(hello, signal) {
      const { mqttTransport } = await import("./mqtt-transport.ts");
      loaded ??= mqttTransport({ url, certificates, clock, ids, log });
      return await loaded.connect(hello, signal);
    },
  };
  return new FailoverTransport({ preferred, other, failoverAfterMs, clock, ids, log });
}

/** Starts syncing in the background. Never throws for a hub that is away: that is a state. `stop` drains. */
export function startSync(options: StartSyncOptions): { status(): SyncStatus; stop(): Promise<void> } {
  const { url, certificates, clock, mqtt } = options;
  const grpc = grpcTransport({ url, certificates, clock });
  const sync = new Sync({ ...options, transport: mqtt ? withBroker(options, mqtt, grpc) : grpc });
  const abort = new AbortController();
  const running = sync.run(abort.signal);
  return {
    status: () => sync.status(),
    async stop() {
      abort.abort(new Error("the agent is stopping"));
      await running;
    },
  };
}
