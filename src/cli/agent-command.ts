import { type ArgsDef, type CommandDef, defineCommand, type ParsedArgs } from "citty";
import type { AgentHome } from "../agent/config/home.ts";
import type { Clock } from "../core/clock.ts";
import type { AgentClient } from "./client/agent-client.ts";
import { findAgentHome, HOME_ARGS } from "./home-args.ts";
import { interruption, type Output } from "./output.ts";
import { checkArguments } from "./strict-args.ts";

/** Flags of every command that talks to an agent of this host. */
export const AGENT_ARGS = {
  ...HOME_ARGS,
  json: { type: "boolean", description: "Print JSON" },
} as const satisfies ArgsDef;

export interface AgentContext {
  client: AgentClient;
  out: Output;
  clock: Clock;
  json: boolean;
  /** Ctrl-C for `live` commands, and for all a reader of stdout that has gone. */
  signal: AbortSignal;
  /** For people, on stderr. */
  note: (text: string) => void;
  /** The words of the command line after the command's name. */
  rawArgs: string[];
}

export interface AgentCommand<A extends ArgsDef> {
  name: string;
  description: string;
  /** A command line that works; a test runs it. */
  example: string;
  args: A;
  /** Takes more words than it names: `name=value` pairs, which `run` reads from `args._`. */
  rest?: boolean;
  /** Runs until Ctrl-C. */
  live?: boolean;
  run: (context: AgentContext, args: ParsedArgs<A & typeof AGENT_ARGS>) => Promise<void>;
}

/** A command on the control socket of an agent: finds the agent, checks the flags, and leaves the rest to `run`. */
export function agentCommand<A extends ArgsDef>(command: AgentCommand<A>): CommandDef<any> {
  const definition = { ...command.args, ...AGENT_ARGS };
  return defineCommand({
    meta: { name: command.name, description: `${command.description}\n\nExample: ${command.example}` },
    args: definition as ArgsDef,
    async run({ args, rawArgs }) {
      const given = args as Record<string, unknown> & { _: string[] };
      checkArguments(definition, command.rest ? { ...given, _: [] } : given);
      const home = findAgentHome(args as unknown as ParsedArgs<typeof AGENT_ARGS>);
      const keys = command.live ? interruption() : undefined;
      try {
        const context = await openAgentContext(home, given.json === true, keys?.signal, rawArgs);
        await command.run(context, args as unknown as ParsedArgs<A & typeof AGENT_ARGS>).catch((error) => {
          if (!context.out.closed.aborted) throw error;
        });
      } finally {
        keys?.dispose();
      }
    },
  });
}

export async function openAgentContext(
  home: AgentHome,
  json: boolean,
  keys: AbortSignal | undefined,
  rawArgs: string[] = [],
): Promise<AgentContext> {
  const [{ AgentClient }, { standardOutput }, { systemClock }, { systemIds }] = await Promise.all([
    import("./client/agent-client.ts"),
    import("./output.ts"),
    import("../core/clock.ts"),
    import("../core/ids.ts"),
  ]);
  const out = standardOutput(process.env);
  const clock = systemClock();
  return {
    client: new AgentClient({ home, clock, ids: systemIds() }),
    out,
    clock,
    json,
    signal: keys ? AbortSignal.any([keys, out.closed]) : out.closed,
    // Not console.error: Bun paints that red on a terminal, and these are no errors.
    note: (text) => void process.stderr.write(`holdfast: ${text}\n`),
    rawArgs,
  };
}
