import { type CommandDef, defineCommand } from "citty";
import { agentCommand } from "./agent-command.ts";
import { HoldfastError } from "../core/errors.ts";
import { age } from "./show-time.ts";
import { wholeNumber } from "./strict-args.ts";
import { stateColor, table } from "./table.ts";

const STATES = ["open", "resolved", "all"];

const list = agentCommand({
  name: "list",
  description: "List findings of this host's agent: what its rules want people to look at",
  example: "holdfast finding list --state all",
  args: {
    state: {
      type: "string",
      valueHint: "STATE",
      default: "open",
      description: `One of ${STATES.join(", ")}`,
    },
    limit: { type: "string", valueHint: "N", default: "50", description: "At most so many" },
  },
  async run({ client, out, json, clock, note }, args) {
    if (!STATES.includes(args.state)) {
      throw new HoldfastError("usage", `--state must be one of ${STATES.join(", ")}, not "${args.state}"`);
    }
    const limit = wholeNumber("limit", args.limit, 1, 1000);
    const items = await client.findings({ state: args.state === "all" ? undefined : args.state, limit });
    if (json) return out.line(JSON.stringify({ items, next: null }));
    if (items.length === 0) return note("no finding fits");
    const nowMs = clock.wall();
    const lines = table(
      items,
      [
        { title: "SEVERITY", value: (row) => row.severity, color: stateColor },
        { title: "STATE", value: (row) => row.state },
        { title: "RAISED", value: (row) => `${row.count}×` },
        { title: "FIRST", value: (row) => age(row.firstAt, nowMs) },
        { title: "LAST", value: (row) => age(row.lastAt, nowMs) },
        { title: "RULE", value: (row) => row.rule, shrinkTo: 12 },
        { title: "KEY", value: (row) => row.key, shrinkTo: 8 },
        { title: "TITLE", value: (row) => row.title, shrinkTo: 20 },
      ],
      out,
    );
    for (const line of lines) await out.line(line);
  },
});

export const finding: CommandDef<any> = defineCommand({
  meta: {
    name: "finding",
    description: "Findings of the agent on this host\n\nExample: holdfast finding list",
  },
  subCommands: { list },
});
