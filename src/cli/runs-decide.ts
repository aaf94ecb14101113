import { type ArgsDef, defineCommand } from "citty";
import { callAgent } from "./control-client.ts";
import { findAgentHome, HOME_ARGS } from "./home-args.ts";
import { checkArguments } from "./strict-args.ts";

const ARGS = {
  run: { type: "positional", required: true, description: "Id of the run" },
  step: { type: "string", required: true, valueHint: "ID", description: "Step that waits" },
  ...HOME_ARGS,
} as const satisfies ArgsDef;

/** A person's word on a step with `effect: ask` whose outcome is unknown, told to the agent on this host. */
function decision(name: "approve" | "deny", what: string) {
  return defineCommand({
    meta: { name, description: `${what}\n\nExample: holdfast runs ${name} 0198f1c2-… --step restart` },
    args: ARGS,
    async run({ args }) {
      checkArguments(ARGS, args);
      const home = findAgentHome(args);
      const path = `/v1/runs/${encodeURIComponent(args.run)}/steps/${encodeURIComponent(args.step)}/decision`;
      await callAgent(home.controlSocket, home.id, "POST", path, { decision: name });
      console.log(
        name === "approve" ? `Step ${args.step} runs again.` : `Step ${args.step} is left uncertain.`,
      );
    },
  });
}

export const approve = decision(
  "approve",
  "Let a step whose outcome is unknown run again (on this host's agent)",
);
export const deny = decision(
  "deny",
  "Leave a step whose outcome is unknown as uncertain (on this host's agent)",
);
