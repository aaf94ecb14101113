import { type ArgsDef, type CommandDef, defineCommand, type ParsedArgs } from "citty";
import type { Clock } from "../core/clock.ts";
import type { HubClient } from "./client/client.ts";
import { interruption, type Output } from "./output.ts";
import { checkArguments } from "./strict-args.ts";

/** Flags of every command that talks to a hub. */
export const HUB_ARGS = {
  hub: { type: "string", valueHint: "URL", description: "Address of the hub's API (or HOLDFAST_HUB_URL)" },
  "token-file": {
    type: "string",
    valueHint: "FILE",
    description: "File with the API token (or HOLDFAST_TOKEN_FILE, HOLDFAST_TOKEN)",
  },
  home: { type: "string", valueHint: "DIR", description: "Use the hub that runs under this folder" },
  verbose: { type: "boolean", description: "Say on stderr which hub is asked" },
  json: { type: "boolean", description: "Print JSON" },
} as const satisfies ArgsDef;

export interface HubContext {
  client: HubClient;
  out: Output;
  clock: Clock;
  json: boolean;
  /** Ctrl-C for `live` commands, and for all a reader of stdout that has gone. */
  signal: AbortSignal;
  /** For people, on stderr. */
  note: (text: string) => void;
}

export interface HubCommand<A extends ArgsDef> {
  name: string;
  description: string;
  /** A command line that works; a test runs it. */
  example: string;
  args: A;
  /** Runs until Ctrl-C, which ends it with exit code 0. */
  live?: boolean;
  run: (context: HubContext, args: ParsedArgs<A & typeof HUB_ARGS>) => Promise<void>;
}

/** A command on the hub's API: finds the hub, checks the flags, and leaves the rest to `run`. */
export function hubCommand<A extends ArgsDef>(command: HubCommand<A>): CommandDef<any> {
  const definition = { ...command.args, ...HUB_ARGS };
  return defineCommand({
    meta: { name: command.name, description: `${command.description}\n\nExample: ${command.example}` },
    args: definition as ArgsDef,
    async run({ args }) {
      checkArguments(definition, args as Record<string, unknown> & { _: string[] });
      const keys = command.live ? interruption() : undefined;
      try {
        const context = await openHubContext(args as unknown as ParsedArgs<typeof HUB_ARGS>, keys?.signal);
        await command.run(context, args as unknown as ParsedArgs<A & typeof HUB_ARGS>).catch((error) => {
          if (!context.signal.aborted) throw error;
        });
      } finally {
        keys?.dispose();
      }
    },
  });
}

export async function openHubContext(
  args: { hub?: string; "token-file"?: string; home?: string; verbose?: boolean; json?: boolean },
  keys: AbortSignal | undefined,
): Promise<HubContext> {
  const [{ resolveTarget }, { HubClient }, { standardOutput }, { systemClock }, { systemIds }] =
    await Promise.all([
      import("./client/target.ts"),
      import("./client/client.ts"),
      import("./output.ts"),
      import("../core/clock.ts"),
      import("../core/ids.ts"),
    ]);
  const target = resolveTarget({
    hub: args.hub,
    tokenFile: args["token-file"],
    home: args.home,
    env: process.env,
    uid: process.getuid?.(),
    isAlive,
  });
  // Not console.error: Bun paints that red on a terminal, and these are no errors.
  const note = (text: string) => void process.stderr.write(`holdfast: ${text}\n`);
  if (args.verbose || process.stderr.isTTY) note(`hub ${target.url} (${target.source})`);
  const out = standardOutput(process.env);
  const signal = keys ? AbortSignal.any([keys, out.closed]) : out.closed;
  const clock = systemClock();
  const client = new HubClient({ target, clock, ids: systemIds(), signal });
  return { client, out, clock, json: args.json === true, signal, note };
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as { code?: string }).code === "EPERM";
  }
}
