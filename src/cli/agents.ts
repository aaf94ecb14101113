import { type CommandDef, defineCommand } from "citty";
import type { AgentItem } from "../hub/api/views.ts";
import { labelLine, showAgent } from "./agents-show.ts";
import { type HubContext, hubCommand } from "./hub-command.ts";
import { age } from "./show-time.ts";
import { stateColor, table } from "./table.ts";

const WATCH_MS = 2000;

const list = hubCommand({
  name: "list",
  description: "List the agents of the hub: status, last heartbeat, version, labels",
  example: "holdfast agents list --selector role=web,site=berlin",
  args: {
    selector: { type: "string", valueHint: "LABELS", description: "Only agents with these labels: a=b,c!=d" },
    watch: { type: "boolean", description: "Show it anew as it changes, until Ctrl-C" },
  },
  live: true,
  async run(context, args) {
    if (!args.watch) return printOnce(context, args.selector);
    let shown: string | undefined;
    while (!context.signal.aborted) {
      const text = await listText(context, args.selector);
      const screen = context.out.width === undefined ? "" : "\u001b[H\u001b[2J";
      if (text !== shown) await context.out.write(screen + (text || "no agent fits\n"));
      shown = text;
      await context.clock.sleep(WATCH_MS, context.signal).catch(() => {});
    }
  },
});

async function printOnce(context: HubContext, selector: string | undefined): Promise<void> {
  const text = await listText(context, selector);
  if (text === "") {
    const none = "no agent is enrolled at this hub yet: holdfast token create makes a join command";
    return context.note(selector === undefined ? none : `no agent fits ${selector}`);
  }
  await context.out.write(text);
}

async function listText(context: HubContext, selector: string | undefined): Promise<string> {
  const page = await context.client.agents({ selector });
  if (context.json) return `${JSON.stringify(page)}\n`;
  if (page.items.length === 0) return "";
  const nowMs = context.clock.wall();
  const lines = table<AgentItem>(
    page.items,
    [
      { title: "AGENT", value: (row) => row.id },
      { title: "STATUS", value: (row) => row.status, color: stateColor },
      { title: "HEARTBEAT", value: (row) => age(row.lastHeartbeatAt, nowMs) },
      { title: "VERSION", value: (row) => row.version },
      { title: "LABELS", value: (row) => labelLine(row.labels), shrinkTo: 12 },
    ],
    context.out,
  );
  return `${lines.join("\n")}\n`;
}

const show = hubCommand({
  name: "show",
  description: "Show one agent: status, health checks, parts, host facts, streams, rows that were lost",
  example: "holdfast agents show web-01",
  args: { id: { type: "positional", required: true, description: "Id of the agent" } },
  async run(context, args) {
    const agent = await context.client.agent(args.id);
    // A hub of the first versions knows no losses, and not where to ask for them.
    const losses = agent.lostRows > 0 ? (await context.client.losses(args.id)).items : [];
    if (context.json) return context.out.line(JSON.stringify({ ...agent, losses }));
    const lines = showAgent(agent, losses, context.clock.wall(), context.out);
    for (const line of lines) await context.out.line(line);
  },
});

export const agents: CommandDef<any> = defineCommand({
  meta: { name: "agents", description: "Agents of the hub\n\nExample: holdfast agents list" },
  subCommands: { list, show },
});
