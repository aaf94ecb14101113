import { type ArgsDef, type CommandDef, defineCommand } from "citty";
import { systemClock } from "../core/clock.ts";
import { ERROR_CODES, HoldfastError } from "../core/errors.ts";
import { HOME_ARGS } from "./home-args.ts";
import { interruption, standardOutput } from "./output.ts";
import { checkArguments } from "./strict-args.ts";

const args = {
  hub: { type: "boolean", description: "Of the hub in --home, not of an agent" },
  agent: { type: "string", valueHint: "ID", description: "With --hub: only what came from this agent" },
  file: { type: "string", valueHint: "FILE", description: "Of an export, from another host say" },
  export: {
    type: "string",
    valueHint: "FILE",
    description: "Write all that was read into a new file, for another verifier (docs/sync.md)",
  },
  ...HOME_ARGS,
  json: { type: "boolean", description: "Print JSON lines: each stream, then the summary" },
} as const satisfies ArgsDef;

interface Given {
  hub?: boolean;
  agent?: string;
  file?: string;
  export?: string;
  home?: string;
  id?: string;
  json?: boolean;
}

export const verify: CommandDef<any> = defineCommand({
  meta: {
    name: "verify",
    description:
      "Prove that nothing of what an agent or the hub holds is missing, reordered or altered, and tell what was lost; exit 1 when it is not whole\n\nExample: holdfast verify --id web-01",
  },
  args: args as ArgsDef,
  async run(context) {
    checkArguments(args, context.args);
    const given = context.args as unknown as Given;
    checkTogether(given);
    const clock = systemClock();
    const { openChains } = await import("./verify/open-chains.ts");
    const { verifyChains } = await import("./verify/verify-chains.ts");
    const keys = interruption();
    const out = standardOutput(process.env);
    const signal = AbortSignal.any([keys.signal, out.closed]);
    const chains = openChains(given, clock);
    try {
      const whole = await verifyChains(chains, {
        out,
        json: given.json === true,
        file: given.export,
        clock,
        signal,
      });
      if (!whole) process.exitCode = ERROR_CODES.failed.exit;
    } catch (error) {
      if (keys.signal.aborted) throw new HoldfastError("cancelled", "stopped before it came to the end");
      if (!out.closed.aborted) throw error;
    } finally {
      keys.dispose();
      chains.close();
    }
  },
});

/** Flags that mean different stores are refused together, not read in some order. */
function checkTogether({ hub, agent, file, home, id }: Given): void {
  const wrong =
    file !== undefined && (hub || agent !== undefined || home !== undefined || id !== undefined)
      ? "--file is a store of its own: leave out --hub, --agent, --home and --id"
      : hub && id !== undefined
        ? "--id names an agent's home; to see one agent's streams on the hub, write --hub --agent ID"
        : !hub && agent !== undefined
          ? "--agent goes with --hub; an agent of this host is named by --id"
          : undefined;
  if (wrong !== undefined) throw new HoldfastError("usage", wrong);
}
