import type { SyncStatus } from "./sync-status.ts";
import { Sync, type SyncOptions } from "./sync.ts";
import { grpcTransport } from "./grpc-transport.ts";

export interface StartSyncOptions extends Omit<SyncOptions, "transport"> {
  /** `grpcs://host:port` */
  url: string;
  /** Folder with ca.crt, agent.crt and agent.key. */
  certificates: string;
}

/** Starts syncing in the background. Never throws for a hub that is away: that is a state. `stop` drains. */
export function startSync(options: StartSyncOptions): { status(): SyncStatus; stop(): Promise<void> } {
  const { url, certificates, clock } = options;
  const sync = new Sync({ ...options, transport: grpcTransport({ url, certificates, clock }) });
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
