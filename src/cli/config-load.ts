import { basename, dirname, resolve } from "node:path";
import { celChecks, type ConfigChecks } from "../agent/config/checks.ts";
import { type AgentHome, agentHome } from "../agent/config/home.ts";
import { type LoadedConfig, loadConfig } from "../agent/config/load.ts";
import { AGENT_ID } from "../model/config.ts";
import { findAgentHome } from "./home-args.ts";
import { lazyPluginChecks } from "./plugin-checks.ts";

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
  const env = process.env;
  if (args.file !== undefined) {
    const named = args.home !== undefined || args.id !== undefined;
    const home = named ? findAgentHome(args) : homeAround(args.file);
    const checks = checksFor(home);
    return await loadConfig({ configFile: args.file, required: true, env, overrides: false, checks });
  }
  const home = findAgentHome(args);
  return await loadConfig({
    configFile: home.configFile,
    confDir: home.confDir,
    env,
    flags: { id: args.id },
    checks: checksFor(home),
  });
}

function checksFor(home: AgentHome | null): ConfigChecks {
  return { expressions: celChecks, plugins: lazyPluginChecks(home) };
}

/** The home whose `config/agent.yaml` this file is. */
function homeAround(file: string): AgentHome | null {
  const root = dirname(dirname(resolve(file)));
  const id = basename(root).replace(/^agent-/, "");
  if (!basename(root).startsWith("agent-") || !AGENT_ID.test(id)) return null;
  const home = agentHome(dirname(root), id);
  return home.configFile === resolve(file) ? home : null;
}
