import { hostname } from "node:os";
import { TimeWatch } from "../core/time-watch.ts";
import type { Config } from "../model/config.ts";
import type { ProposedEvent } from "../model/event.ts";
import type { MaintenanceDefinition } from "../model/maintenance.ts";
import type { AgentOptions } from "./agent-options.ts";
import { Memory } from "./memory/memory.ts";
import { fixedParameters } from "./parameters/fixed-parameters.ts";
import { Parameters } from "./parameters/parameters.ts";
import { sealedParameters } from "./parameters/sealed-parameters.ts";
import { masterKeys } from "./secrets/master-keys.ts";
import { SecretPlaces } from "./secrets/secret-places.ts";
import { Secrets } from "./secrets/secrets.ts";
import { Brake } from "./silences/brake.ts";
import { Silences } from "./silences/silences.ts";
import { MaintenanceWindows } from "./silences/windows.ts";
import type { AgentStore } from "./store/port.ts";

export type SharedParts = Awaited<ReturnType<typeof openShared>>;

/**
 * What rules, runs, workers and people share: memory, parameters, secrets, silences and the brake. `tell` records an event
 * where there is automation.
 */
export async function openShared(
  options: AgentOptions,
  store: AgentStore,
  tell: (event: ProposedEvent) => Promise<void>,
) {
  const { id, config, clock, ids, log, masker } = options;
  const watch = new TimeWatch(clock, () => options.sinceBoot.uptimeMs());
  const secrets = openSecrets(options, store);
  const parameters = new Parameters({
    store: sealedParameters(store, secrets),
    fixed: fixedParameters(config),
    facts: { agent_id: id, hostname: hostname(), os: process.platform, arch: process.arch },
    handedOut: (value) => masker.add(value),
    clock,
  });
  const places = new SecretPlaces(ids.hex(16));
  const memory = new Memory({ store, clock, log: log.child("memory") });
  const windows = new MaintenanceWindows(await windowsOf(config), clock, log.child("maintenance"));
  const { labels } = config.agent;
  const silences = new Silences({ store, windows, labels, clock, ids, log: log.child("silences") });
  const brake = new Brake({
    store,
    windows: () =>
      windows
        .open()
        .flatMap(({ definition: { name, brake }, untilMs }) => (brake ? [{ name, untilMs }] : [])),
    tell,
    clock,
    log: log.child("brake"),
  });
  return {
    ...{ store, watch, secrets, parameters, places, memory, windows, silences, brake },
    async start(): Promise<void> {
      await memory.start();
      await secrets.start();
      await parameters.start();
      await brake.load();
      await silences.load();
      windows.onChange(() => brake.update());
      windows.start();
    },
    async stop(): Promise<void> {
      windows.stop();
      await silences.stop();
      await brake.stop();
      memory.stop();
    },
  };
}

function openSecrets(options: AgentOptions, store: AgentStore): Secrets {
  const { home, ids, clock, log, masker, credentials, passphraseFile } = options;
  const random = (bytes: number) => new Uint8Array(Buffer.from(ids.hex(bytes), "hex"));
  const { secretsKey: file, secretsSalt: salt } = home;
  return new Secrets({
    store,
    masters: (make) => masterKeys({ credentials, file, passphraseFile, salt, random }, make),
    handedOut: (value) => masker.add(value),
    random,
    clock,
    log: log.child("secrets"),
  });
}

async function windowsOf(config: Config): Promise<MaintenanceDefinition[]> {
  if (config.maintenance.length === 0) return [];
  const { maintenanceDefinitions } = await import("./config/maintenance-definitions.ts");
  return maintenanceDefinitions(config, () => Intl.DateTimeFormat().resolvedOptions().timeZone);
}
