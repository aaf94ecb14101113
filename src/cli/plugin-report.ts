import { celChecks } from "../agent/config/checks.ts";
import type { AgentHome } from "../agent/config/home.ts";
import { loadConfig } from "../agent/config/load.ts";
import type { Catalog } from "../agent/plugins/catalog.ts";
import type { Config } from "../model/config.ts";
import { formatResources, type GrantDecision, type GrantSummary, summaryOf } from "../model/grant.ts";
import { banOf, grantRuleOf } from "../model/grant-decision.ts";
import { readResources } from "../model/grant-resources.ts";
import type { JsonObject } from "../model/json.ts";
import { DEFAULT_RESOURCES } from "../model/permissions.ts";
import type { CatalogPlugin, PluginKind } from "../model/plugin.ts";
import { openCatalogOf } from "./plugin-checks.ts";
import { type HostGrants, openGrants } from "./plugin-grants.ts";

/** What `plugin list` and `plugin show` print as JSON. */
export interface PluginReport {
  name: string;
  kind: PluginKind;
  description: string;
  /** `shipped`, or the file or folder of the plugin. */
  from: string;
  /** What the manifest asks for: permissions that are not empty, and every resource with its default. */
  asks: { permissions: Record<string, string[]>; resources: Record<string, string> };
  policy: {
    /** The patterns of the rule that counts, null without one. */
    rule: string[] | null;
    sandbox: "on" | "strict" | "off" | null;
    /** Why it may not run at all. */
    ban: string | null;
  };
  /** Where its permissions need no settings: what each of its workers gets. */
  grant: GrantReport | null;
  /** Each trigger, step and output that uses it; null when the configuration has problems. */
  uses: { where: string; grant: GrantReport }[] | null;
}

export type GrantReport =
  | ({ state: "granted"; create: string[]; needsHiding: boolean } & GrantSummary)
  | { state: "refused"; reasons: string[] };

export interface PluginReports {
  policy: HostGrants["policy"];
  plugins: PluginReport[];
  /** What lies in data/plugins and cannot be used. */
  unusable: { path: string; reason: string }[];
  /** How many problems hide the uses. */
  configProblems: number;
}

interface Use {
  kind: PluginKind;
  plugin: string;
  where: string;
  settings: JsonObject;
}

/** Every plugin of an agent with what it asks for, and what it gets by the policy and the configuration. */
export async function pluginReports(home: AgentHome): Promise<PluginReports> {
  const [catalog, grants, config] = await Promise.all([
    openCatalogOf(home),
    openGrants(home),
    loadConfig({
      configFile: home.configFile,
      confDir: home.confDir,
      env: process.env,
      checks: { expressions: celChecks },
    }),
  ]);
  const uses = config.config === null ? null : usesOf(config.config);
  return {
    policy: grants.policy,
    plugins: sorted(catalog).map((plugin) => reportOf(plugin, grants, uses)),
    unusable: catalog.problems(),
    configProblems: config.problems.length,
  };
}

function sorted(catalog: Catalog): CatalogPlugin[] {
  const rank = ({ manifest }: CatalogPlugin) => `${manifest.name} ${manifest.kind}`;
  return catalog.list().toSorted((a, b) => (rank(a) < rank(b) ? -1 : 1));
}

function usesOf(config: Config): Use[] {
  const part = (kind: PluginKind, item: { name: string; plugin: string; with: unknown }): Use => ({
    kind,
    plugin: item.plugin,
    where: `${kind} ${item.name}`,
    settings: item.with as JsonObject,
  });
  const action = (
    where: string,
    { action: plugin, with: input }: { action?: string; with: unknown },
  ): Use[] =>
    plugin === undefined ? [] : [{ kind: "action", plugin, where, settings: input as JsonObject }];
  const steps = Object.entries(config.pipelines).flatMap(([name, pipeline]) =>
    [...pipeline.steps, ...pipeline.on_failure, ...pipeline.finally].flatMap((step) => [
      ...action(`step ${name}/${step.id}`, step),
      ...(step.undo ? action(`undo of step ${name}/${step.id}`, step.undo) : []),
    ]),
  );
  return [
    ...config.triggers.map((trigger) => part("trigger", trigger)),
    ...steps,
    ...config.outputs.map((output) => part("output", output)),
  ];
}

function reportOf(plugin: CatalogPlugin, grants: HostGrants, uses: Use[] | null): PluginReport {
  const { name, kind, description, permissions, resources } = plugin.manifest;
  const { policy } = grants.policy;
  const lists = Object.entries(permissions).map(([permission, wish]): [string, string[]] => [
    permission,
    Array.isArray(wish) ? wish : wish ? ["asked for"] : [],
  ]);
  const asked = Object.fromEntries(lists.filter(([, items]) => items.length > 0));
  const rule = policy === null ? undefined : grantRuleOf(name, policy);
  const dependsOnSettings = Object.values(asked)
    .flat()
    .some((text) => text.includes("settings."));
  const own = uses?.filter((use) => use.kind === kind && use.plugin === name) ?? [];
  return {
    name,
    kind,
    description,
    from: placeOf(plugin),
    asks: {
      permissions: asked,
      resources: formatResources({ ...DEFAULT_RESOURCES, ...readResources(resources) }),
    },
    policy: {
      rule: rule?.plugins ?? null,
      sandbox: policy === null ? null : (rule?.sandbox ?? policy.sandbox),
      ban: policy === null ? grants.policy.problem : banOf(name, policy),
    },
    grant: dependsOnSettings ? null : grantReport(grants.decide(plugin, {})),
    uses:
      uses === null
        ? null
        : own.map(({ where, settings }) => ({ where, grant: grantReport(grants.decide(plugin, settings)) })),
  };
}

function placeOf({ entry }: CatalogPlugin): string {
  if ("shipped" in entry) return "shipped";
  return "file" in entry ? entry.file : entry.script.folder;
}

function grantReport(decision: GrantDecision): GrantReport {
  if (decision.kind === "refused") return { state: "refused", reasons: decision.reasons };
  const { grant, create, needsHiding } = decision;
  return { state: "granted", ...summaryOf(grant), create: create.map(({ path }) => path), needsHiding };
}
