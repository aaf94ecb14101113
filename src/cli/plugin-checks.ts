import type { PluginChecks } from "../agent/config/checks.ts";
import { readDocument } from "../agent/config/document.ts";
import type { AgentHome } from "../agent/config/home.ts";
import type { Catalog } from "../agent/plugins/catalog.ts";
import { HoldfastError } from "../core/errors.ts";
import type { JsonObject } from "../model/json.ts";
import type { CatalogPlugin } from "../model/plugin.ts";

/** What validation asks of a catalog. */
export function catalogChecks(catalog: Catalog): Required<Omit<PluginChecks, "refusals">> {
  return {
    known: (kind) => catalog.known(kind),
    missing: (kind, name) => catalog.missing(kind, name),
    settingsProblems(kind, name, settings) {
      const plugin = catalog.get(kind, name);
      return plugin === undefined ? [] : catalog.settingsProblems(plugin, settings);
    },
  };
}

/** What else is checked of a known plugin: whether the policy and the host allow it. */
export type Refusals = (plugin: CatalogPlugin, settings: JsonObject) => string[];

/**
 * Checks against the plugins of an agent, or against the shipped ones for a file that belongs to no agent. The catalog is
 * opened when the first plugin is asked for; a dropped plugin that nobody has described yet is loaded in a worker.
 */
export function lazyPluginChecks(
  home: AgentHome | null,
  refusals?: Refusals,
  open: typeof openCatalogOf = openCatalogOf,
): PluginChecks {
  let opening: Promise<Catalog> | undefined;
  const catalog = () => (opening ??= open(home));
  const checks = async () => catalogChecks(await catalog());
  return {
    known: async (kind) => (await checks()).known(kind),
    missing: async (kind, name) => (await checks()).missing(kind, name),
    settingsProblems: async (kind, name, settings) => (await checks()).settingsProblems(kind, name, settings),
    async refusals(kind, name, settings) {
      const plugin = (await catalog()).get(kind, name);
      return plugin === undefined ? [] : (refusals?.(plugin, settings) ?? []);
    },
  };
}

/** As far as is known without loading any: a dropped plugin that nobody has described yet is not. */
export async function openKnownCatalog(home: AgentHome | null): Promise<Catalog> {
  const { openCatalog } = await import("../agent/plugins/catalog.ts");
  const none = "/nonexistent";
  const why =
    home === null
      ? "there are no plugins here"
      : "nobody has loaded it yet: holdfast config validate does, or start the agent";
  return await openCatalog({
    pluginsDir: home?.plugins ?? none,
    cacheDir: home?.cache ?? none,
    readDocument,
    describe: () => Promise.reject(new HoldfastError("not_found", why)),
  });
}

/** The plugins of an agent, or the shipped ones alone. */
export async function openCatalogOf(home: AgentHome | null): Promise<Catalog> {
  if (home === null) return await openKnownCatalog(home);
  const [
    { openPlugins },
    { probeKernel },
    { selfCommand },
    { systemClock },
    { systemIds },
    { silentLogger },
  ] = await Promise.all([
    import("./open-plugins.ts"),
    import("../agent/workers/sandbox/probe.ts"),
    import("../agent/workers/self-command.ts"),
    import("../core/clock.ts"),
    import("../core/ids.ts"),
    import("../core/logger.ts"),
  ]);
  const { catalog } = await openPlugins({
    home,
    labels: {},
    kernel: await probeKernel(selfCommand().command),
    pluginLog: () => ({ write: () => {} }),
    clock: systemClock(),
    ids: systemIds(),
    log: silentLogger(),
  });
  return catalog;
}
