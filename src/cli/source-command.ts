import { type ArgsDef, type CommandDef, defineCommand, type ParsedArgs } from "citty";
import { statSync } from "node:fs";
import { join } from "node:path";
import { type AgentHome, agentIds } from "../agent/config/home.ts";
import { HoldfastError } from "../core/errors.ts";
import type { AgentClient } from "./client/agent-client.ts";
import type { HubClient } from "./client/client.ts";
import { type AgentContext, openAgentContext } from "./agent-command.ts";
import { findAgentHome, HOME_ARGS, homeBase } from "./home-args.ts";
import { HUB_ARGS, openHubContext } from "./hub-command.ts";
import { interruption } from "./output.ts";
import { checkArguments } from "./strict-args.ts";

/** Flags of commands that ask an agent of this host or a hub. */
export const SOURCE_ARGS = {
  ...HUB_ARGS,
  home: {
    type: "string",
    valueHint: "DIR",
    description: "Folder that holds the homes of agents; with --agent, or where there is no agent, of a hub",
  },
  id: { ...HOME_ARGS.id, description: "Agent of this host to ask; not needed where there is one" },
  agent: { type: "string", valueHint: "ID", description: "Ask the hub about this agent" },
} as const satisfies ArgsDef;

/** What both can answer. */
export type Source = Pick<HubClient, "runs" | "run" | "events" | "followEvents">;

export interface SourceContext extends Omit<AgentContext, "client" | "rawArgs"> {
  source: Source;
  /** Set where the source is an agent of this host, which can do more. */
  local: AgentClient | undefined;
}

interface SourceCommand<A extends ArgsDef> {
  name: string;
  description: string;
  /** A command line that works; a test runs it. */
  example: string;
  args: A;
  /** Runs until Ctrl-C, which ends it with exit code 0. */
  live?: boolean | ((args: Record<string, unknown>) => boolean);
  run: (context: SourceContext, args: ParsedArgs<A & typeof SOURCE_ARGS>) => Promise<void>;
}

type SourceFlags = { hub?: string; home?: string; id?: string; agent?: string };

/**
 * `--hub` and `--agent` mean the REST API, `--id` and `--home` the control socket; with none of them it is the one agent of
 * this host if there is exactly one, else the hub. Null is the hub.
 */
export function chooseAgent(flags: SourceFlags, base: string): AgentHome | null {
  if (flags.hub !== undefined || flags.agent !== undefined) {
    if (flags.id === undefined) return null;
    throw new HoldfastError(
      "usage",
      "--id means an agent of this host, --hub and --agent the hub: give one of them",
    );
  }
  if (flags.id !== undefined) return findAgentHome(flags);
  const ids = agentIds(base);
  if (flags.home !== undefined) return ids.length === 0 && hasHub(base) ? null : findAgentHome(flags);
  return ids.length === 1 ? findAgentHome({ home: base }) : null;
}

/** A command that an agent of this host and a hub can answer: finds out whom to ask and checks the flags. */
export function sourceCommand<A extends ArgsDef>(command: SourceCommand<A>): CommandDef<any> {
  const definition = { ...command.args, ...SOURCE_ARGS };
  return defineCommand({
    meta: { name: command.name, description: `${command.description}\n\nExample: ${command.example}` },
    args: definition as ArgsDef,
    async run({ args }) {
      checkArguments(definition, args as Record<string, unknown> & { _: string[] });
      const live = typeof command.live === "function" ? command.live(args) : command.live;
      const keys = live ? interruption() : undefined;
      try {
        const context = await openSource(args as unknown as ParsedArgs<typeof SOURCE_ARGS>, keys?.signal);
        await command.run(context, args as unknown as ParsedArgs<A & typeof SOURCE_ARGS>).catch((error) => {
          if (!context.signal.aborted) throw error;
        });
      } finally {
        keys?.dispose();
      }
    },
  });
}

async function openSource(
  args: ParsedArgs<typeof SOURCE_ARGS>,
  keys: AbortSignal | undefined,
): Promise<SourceContext> {
  const base = homeBase(args.home);
  const home = chooseAgent(args, base);
  if (home === null) {
    const { client, ...rest } = await openHub(args, base, keys);
    return { ...rest, source: client, local: undefined };
  }
  const { client, rawArgs: _, ...rest } = await openAgentContext(home, args.json === true, keys);
  if (args.verbose || process.stderr.isTTY) rest.note(`agent ${home.id} on ${home.controlSocket}`);
  return { ...rest, source: client, local: client };
}

async function openHub(args: ParsedArgs<typeof SOURCE_ARGS>, base: string, keys: AbortSignal | undefined) {
  try {
    return await openHubContext(args, keys);
  } catch (error) {
    const ids = agentIds(base);
    const noHub = error instanceof HoldfastError && error.code === "not_found" && ids.length > 1;
    // Several agents and no hub: which of them is the question to ask.
    if (noHub && args.hub === undefined && args.agent === undefined) findAgentHome({ home: base });
    throw error;
  }
}

function hasHub(base: string): boolean {
  return statSync(join(base, "hub"), { throwIfNoEntry: false })?.isDirectory() === true;
}
