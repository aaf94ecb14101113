import type { Clock } from "../core/clock.ts";
import type { Ids } from "../core/ids.ts";
import type { Logger } from "../core/logger.ts";
import type { SecretMasker } from "../core/secret-masker.ts";
import type { SinceBoot } from "../core/since-boot.ts";
import type { Config } from "../model/config.ts";
import type { JsonObject } from "../model/json.ts";
import type { Protections } from "../model/protection.ts";
import type { AgentHome } from "./config/home.ts";
import type { Catalog } from "./plugins/catalog.ts";
import type { MemoryPort } from "./workers/memory-port.ts";
import type { SecretPort } from "./workers/secret-port.ts";
import type { Workers } from "./workers/workers.ts";

export interface AgentOptions {
  home: AgentHome;
  id: string;
  config: Config;
  /** Called once, and only by an agent that has something to run. `ownListeners` are ports that no worker may reach. */
  plugins: (
    ownListeners: () => { host: string; port: number }[],
    shared: SharedWithWorkers,
  ) => Promise<AgentPlugins>;
  /** What this host's kernel holds workers to. */
  protections: Promise<Protections>;
  /** The policy over plugins: where it is from, and why nothing may start, if so. */
  policy: { text: string; problem: string | null };
  /** Knows every secret that was handed out; the logs of the caller use it as well. */
  masker: SecretMasker;
  /** Where systemd puts credentials, and a file with a passphrase: keys for secrets, beside the one in the home. */
  credentials: string | undefined;
  passphraseFile: string | undefined;
  clock: Clock;
  sinceBoot: SinceBoot;
  ids: Ids;
  log: Logger;
  logLinesDropped: () => number;
}

export interface SharedWithWorkers {
  memory: MemoryPort;
  secrets: SecretPort;
  masking: SecretMasker;
}

export interface AgentPlugins {
  catalog: Catalog;
  workers: Workers;
  /** Why the policy lets no plugin of this name run, or null. */
  banned(plugin: string): string | null;
  close(): Promise<void>;
}

export interface RunningAgent {
  healthUrl: string;
  status(): JsonObject;
  /** Stops intake, lets steps under way end within `graceMs`, then closes the store. */
  stop(graceMs: number): Promise<void>;
}
