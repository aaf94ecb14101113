import type { ArgsDef } from "citty";
import { statSync } from "node:fs";
import { type AgentHome, agentHome, agentIds, checkAgentId, defaultBase } from "../agent/config/home.ts";
import { HoldfastError } from "../core/errors.ts";

/** How a command names an agent of this host. */
export const HOME_ARGS = {
  home: {
    type: "string",
    valueHint: "DIR",
    description: "Folder that holds the homes of agents (default: /var/lib/holdfast for root, else your own)",
  },
  id: { type: "string", valueHint: "ID", description: "Agent id; not needed where there is one agent" },
} as const satisfies ArgsDef;

type Environment = Record<string, string | undefined>;

/** The folder that homes lie in. */
export function homeBase(home: string | undefined, env: Environment = process.env): string {
  return home ?? defaultBase(env, process.getuid?.());
}

/**
 * The agent that `--home` and `--id` name, or the only one there is. Throws `not_found` when there is none and `usage`
 * when there are several.
 */
export function findAgentHome(
  args: { home?: string; id?: string },
  env: Environment = process.env,
): AgentHome {
  const base = homeBase(args.home, env);
  if (args.id !== undefined) {
    checkAgentId(args.id);
    const home = agentHome(base, args.id);
    if (statSync(home.root, { throwIfNoEntry: false })?.isDirectory()) return home;
    throw new HoldfastError(
      "not_found",
      `there is no agent ${args.id} in ${base}: ${present(agentIds(base))}`,
    );
  }
  const ids = agentIds(base);
  const [only] = ids;
  if (ids.length === 1 && only !== undefined) return agentHome(base, only);
  if (ids.length === 0) {
    throw new HoldfastError("not_found", `there is no agent in ${base}: name its folder with --home DIR`);
  }
  throw new HoldfastError(
    "usage",
    `there are ${ids.length} agents in ${base}: say which with --id (${names(ids)})`,
  );
}

function present(ids: string[]): string {
  return ids.length === 0
    ? "there is none at all; name its folder with --home DIR"
    : `there is ${names(ids)}`;
}

function names(ids: string[]): string {
  return ids.length > 10 ? `${ids.slice(0, 10).join(", ")} …` : ids.join(", ");
}
