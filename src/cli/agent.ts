import { type CommandDef, defineCommand } from "citty";

export const agent: CommandDef<any> = defineCommand({
  meta: { name: "agent", description: "The agent on this host\n\nExample: holdfast agent run --id web-01" },
  subCommands: {
    run: () => import("./agent-run.ts").then((module) => module.agentRun),
    enroll: () => import("./agent-enroll.ts").then((module) => module.agentEnroll),
    status: () => import("./agent-status.ts").then((module) => module.agentStatus),
  },
});
