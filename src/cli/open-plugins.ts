import { readDocument } from "../agent/config/document.ts";
import { join } from "node:path";
import { openHostAccess } from "../agent/host-access.ts";
import type { AgentHome } from "../agent/config/home.ts";
import { makeMissing } from "../agent/config/policy-places.ts";
import type { LoadedPolicy } from "../agent/config/policy.ts";
import { type Catalog, openCatalog } from "../agent/plugins/catalog.ts";
import type { GrantFor } from "../agent/workers/worker-maker.ts";
import { openLauncher } from "../agent/workers/open-launcher.ts";
import type { MemoryPort } from "../agent/workers/memory-port.ts";
import type { Masking, SecretPort } from "../agent/workers/secret-port.ts";
import { createWorkers, type Workers } from "../agent/workers/workers.ts";
import type { KernelFacts } from "../agent/workers/sandbox/kernel-facts.ts";
import { protectionsOf } from "../agent/workers/sandbox/protections.ts";
import type { Clock } from "../core/clock.ts";
import { messageOf } from "../core/errors.ts";
import type { Ids } from "../core/ids.ts";
import type { Logger, LogSink } from "../core/logger.ts";
import { banOf } from "../model/grant-decision.ts";
import { DEFAULT_POLICY } from "../model/policy.ts";
import { type HostGrants, openGrants } from "./plugin-grants.ts";
import { PROTECTION_LEVELS, type Protections } from "../model/protection.ts";

export interface OpenPluginsOptions {
  home: AgentHome;
  labels: Record<string, string>;
  kernel: KernelFacts;
  pluginLog: (name: string) => LogSink;
  /** What plugins share; absent for commands that run none. */
  memory?: MemoryPort;
  secrets?: SecretPort;
  masking?: Masking;
  /** Ports of this agent that no worker may reach. */
  ownListeners?: () => { host: string; port: number }[];
  clock: Clock;
  ids: Ids;
  log: Logger;
}

export interface OpenPlugins {
  catalog: Catalog;
  workers: Workers;
  policy: LoadedPolicy;
  protections: Protections;
  /** Why the policy lets no plugin of this name run, or null. */
  banned(plugin: string): string | null;
  close(): Promise<void>;
}

/** The plugins of an agent's home, the policy over them, and workers to run them in. */
export async function openPlugins(options: OpenPluginsOptions): Promise<OpenPlugins> {
  const { home, kernel, clock, ids, log, ownListeners, memory, secrets, masking } = options;
  const grants = await openGrants(home, kernel.mountNamespace);
  const { policy } = grants;
  if (policy.problem !== null) log.error(policy.problem);
  const sandbox = policy.policy?.sandbox ?? "on";
  const protections = protectionsOf(kernel, sandbox, { uid: kernel.root });
  const { launcher, close } = await openLauncher({
    kernel,
    workdir: home.workdir,
    clock,
    ids,
    log,
    ...(ownListeners ? { ownListeners } : {}),
  });
  const host = openHostAccess({
    auditFile: join(home.auditLogs, "host-operations.jsonl"),
    policy: () => policy.policy ?? DEFAULT_POLICY,
    memory,
    masking,
    clock,
    ids,
    log,
  });
  const workers = createWorkers({
    clock,
    ids,
    log: log.child("workers"),
    workdir: home.workdir,
    pluginLog: options.pluginLog,
    agent: { id: home.id, labels: options.labels, home: home.root },
    launcher,
    hostOperation: host.hostOperation,
    calls: host.calls,
    ...(memory ? { memory } : {}),
    ...(secrets ? { secrets } : {}),
    ...(masking ? { masking } : {}),
    grantFor: grantsOf(grants, protections),
  });
  const catalog = await openCatalog({
    pluginsDir: home.plugins,
    cacheDir: home.cache,
    describe: workers.describe,
    readDocument,
  });
  return {
    catalog,
    workers,
    policy,
    protections,
    banned: (plugin) => (policy.policy === null ? policy.problem : banOf(plugin, policy.policy)),
    close: async () => {
      await close();
      await workers.close();
      await host.close();
    },
  };
}

/** What a plugin gets when it is started now; files that it is to write are made. */
function grantsOf(grants: HostGrants, protections: Protections): GrantFor {
  return (plugin, settings) => {
    const decision = grants.decide(plugin, settings);
    if (decision.kind === "refused") return decision;
    const weak = decision.strict ? weakLevels(protections) : [];
    if (weak.length > 0) {
      const reason = `plugin ${plugin.manifest.name}: the policy says sandbox: strict, and on this host ${weak.join("; ")}; holdfast doctor tells what would mend it`;
      return { kind: "refused", reasons: [reason] };
    }
    try {
      // The kernel grants a file, not the name of one that is not there yet.
      makeMissing(decision.create);
    } catch (error) {
      return { kind: "refused", reasons: [`plugin ${plugin.manifest.name}: ${messageOf(error)}`] };
    }
    return decision;
  };
}

function weakLevels(protections: Protections): string[] {
  return PROTECTION_LEVELS.filter((name) => protections[name].level !== "enforced").map(
    (name) => `${name} is ${protections[name].level} (${protections[name].reason})`,
  );
}
