import { basename, dirname, resolve } from "node:path";
import { celChecks, type ConfigChecks } from "../agent/config/checks.ts";
import { type AgentHome, agentHome } from "../agent/config/home.ts";
import { type LoadedConfig, loadConfig } from "../agent/config/load.ts";
import { AGENT_ID } from "../model/agent-id.ts";
import { findAgentHome } from "./home-args.ts";
import { lazyPluginChecks, type openCatalogOf, type Refusals } from "./plugin-checks.ts";
import { type HostGrants, openGrants } from "./plugin-grants.ts";

export interface ConfigArgs {
  file?: string;
  home?: string;
  id?: string;
}

/**
 * What `config validate` and `config show` look at: one file on its own, or an agent's with all that merges over it. A
 * file is checked against the plugins of the agent that `--home` and `--id` name or in whose home it lies, else against
 * the shipped ones.
 */
export async function loadForCli(args: ConfigArgs): Promise<LoadedConfig> {
  return await loadOf(args, homeOf(args));
}

/**
 * As `loadForCli`, and also what the policy and the host say to each use of a plugin; a file of no agent has no policy.
 * `catalog`: where plugins are looked up.
 */
export async function loadWithPolicy(
  args: ConfigArgs,
  catalog?: typeof openCatalogOf,
): Promise<LoadedConfig & { home: AgentHome | null; grants: HostGrants | null }> {
  const home = homeOf(args);
  if (home === null) return { ...(await loadOf(args, home, undefined, catalog)), home, grants: null };
  const grants = await openGrants(home);
  const { problems } = grants.policy;
  // With a broken policy everything is refused, for one reason, which is told once.
  if (problems.length > 0) {
    const loaded = await loadOf(args, home, undefined, catalog);
    return { ...loaded, config: null, problems: [...loaded.problems, ...problems], home, grants };
  }
  const refusals: Refusals = (plugin, settings) => {
    const decision = grants.decide(plugin, settings);
    return decision.kind === "refused" ? decision.reasons : [];
  };
  const loaded = await loadOf(args, home, refusals, catalog);
  return { ...loaded, home, grants };
}

function homeOf(args: ConfigArgs): AgentHome | null {
  const isNamed = args.file === undefined || args.home !== undefined || args.id !== undefined;
  return isNamed ? findAgentHome(args) : homeAround(args.file!);
}

async function loadOf(
  args: ConfigArgs,
  home: AgentHome | null,
  refusals?: Refusals,
  catalog?: typeof openCatalogOf,
): Promise<LoadedConfig> {
  const env = process.env;
  const checks: ConfigChecks = { expressions: celChecks, plugins: lazyPluginChecks(home, refusals, catalog) };
  if (args.file !== undefined || home === null) {
    return await loadConfig({ configFile: args.file!, required: true, env, overrides: false, checks });
  }
  const { configFile, confDir } = home;
  return await loadConfig({ configFile, confDir, env, flags: { id: args.id }, checks });
}

/** The home whose `config/agent.yaml` this file is. */
function homeAround(file: string): AgentHome | null {
  const root = dirname(dirname(resolve(file)));
  const id = basename(root).replace(/^agent-/, "");
  if (!basename(root).startsWith("agent-") || !AGENT_ID.test(id)) return null;
  const home = agentHome(dirname(root), id);
  return home.configFile === resolve(file) ? home : null;
}
