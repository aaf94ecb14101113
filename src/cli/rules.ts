import { type CommandDef, defineCommand } from "citty";
import * as v from "valibot";
import { agentCommand } from "./agent-command.ts";
import { age } from "./show-time.ts";
import { table } from "./table.ts";

const ruleSchema = v.looseObject({
  name: v.string(),
  enabled: v.boolean(),
  priority: v.number(),
  on: v.array(v.string()),
  kind: v.string(),
  counters: v.record(v.string(), v.unknown()),
  fired: v.number(),
  lastFiredAt: v.nullable(v.string()),
  /** Why it does not run at all. */
  broken: v.fallback(v.nullable(v.string()), null),
});
type Rule = v.InferOutput<typeof ruleSchema>;

const list = agentCommand({
  name: "list",
  description: "List the rules of this host's agent in the order in which they are asked, with what they did",
  example: "holdfast rules list",
  args: {},
  async run({ client, out, json, clock, note }) {
    const answered = await client.rules();
    if (json) return out.line(JSON.stringify({ items: answered, next: null }));
    const rules = answered.map((rule) => v.parse(ruleSchema, rule));
    if (rules.length === 0) return note("this agent has no rules");
    for (const line of lines(rules, clock.wall(), out)) await out.line(line);
  },
});

function lines(
  rules: Rule[],
  nowMs: number,
  options: { width: number | undefined; color: boolean },
): string[] {
  return table(
    rules,
    [
      { title: "RULE", value: (row) => row.name, shrinkTo: 16 },
      { title: "PRIORITY", value: (row) => row.priority },
      {
        title: "ENABLED",
        value: (row) => (row.enabled ? "yes" : "no"),
        color: (text) => (text === "no" ? "dim" : undefined),
      },
      { title: "KIND", value: (row) => row.kind },
      { title: "ON", value: (row) => row.on.join(","), shrinkTo: 8 },
      { title: "MATCHED", value: (row) => number(row, "matched") },
      { title: "FIRED", value: (row) => row.fired },
      { title: "SKIPPED", value: (row) => number(row, "skipped") },
      { title: "SILENCED", value: (row) => number(row, "silenced") },
      { title: "LATE", value: (row) => number(row, "late") },
      {
        title: "ERRORS",
        value: (row) => number(row, "errors"),
        color: (text) => (text === "0" ? undefined : "red"),
      },
      { title: "LAST FIRED", value: (row) => age(row.lastFiredAt, nowMs) },
      { title: "LAST ERROR", value: (row) => lastError(row), shrinkTo: 16 },
    ],
    options,
  );
}

function number({ counters }: Rule, name: string): number {
  const value = counters[name];
  return typeof value === "number" ? value : 0;
}

function lastError({ broken, counters }: Rule): string {
  if (broken !== null) return broken;
  return typeof counters.lastError === "string" ? counters.lastError : "";
}

export const rules: CommandDef<any> = defineCommand({
  meta: { name: "rules", description: "Rules of the agent on this host\n\nExample: holdfast rules list" },
  subCommands: { list, test: () => import("./rules-test.ts").then((module) => module.test) },
});
