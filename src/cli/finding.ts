import { type CommandDef, defineCommand } from "citty";
import { agentCommand } from "./agent-command.ts";
import type { FindingItem } from "./client/finding-schemas.ts";
import { acknowledge, FINDING_ARG, note, resolve } from "./finding-change.ts";
import { exported } from "./finding-export.ts";
import { FILTER_ARGS, findingFilter } from "./finding-filter.ts";
import { plainLine } from "./plain-text.ts";
import { age, timeAndAge } from "./show-time.ts";
import { wholeNumber } from "./strict-args.ts";
import { stateColor, table } from "./table.ts";

/** Characters of an id that a list shows: its end, which differs most. */
const SHORT_ID = 8;

const list = agentCommand({
  name: "list",
  description:
    "List findings of this host's agent, the most severe first: what its rules want people to look at. Without --state those that are not resolved",
  example: "holdfast finding list --state all",
  args: {
    ...FILTER_ARGS,
    limit: { type: "string", valueHint: "N", default: "50", description: "At most so many" },
  },
  async run({ client, out, json, clock, note: tell }, args) {
    const filter = findingFilter(args, "unresolved");
    const limit = wholeNumber("limit", args.limit, 1, 1000);
    const { items } = await client.findings({ ...filter, order: "severity", limit });
    if (json) return out.line(JSON.stringify({ items, next: null }));
    if (items.length === 0) return tell("no finding fits");
    const nowMs = clock.wall();
    const lines = table(
      items,
      [
        { title: "SEVERITY", value: (row) => row.severity, color: stateColor },
        { title: "STATE", value: (row) => row.state },
        { title: "RAISED", value: (row) => `${row.count}×` },
        { title: "FIRST", value: (row) => age(row.firstAt, nowMs) },
        { title: "LAST", value: (row) => age(row.lastAt, nowMs) },
        { title: "ID", value: (row) => row.id.slice(-SHORT_ID) },
        { title: "RULE", value: (row) => row.rule, shrinkTo: 12 },
        { title: "KEY", value: (row) => row.key, shrinkTo: 8 },
        { title: "TITLE", value: (row) => row.title, shrinkTo: 20 },
      ],
      out,
    );
    for (const line of lines) await out.line(line);
  },
});

const show = agentCommand({
  name: "show",
  description: "Show a finding: what raised it, who has looked at it, its notes",
  example: "holdfast finding show 3f9a12bc",
  args: { finding: FINDING_ARG },
  async run({ client, out, json, clock }, args) {
    const finding = await client.finding(args.finding);
    if (json) return out.line(JSON.stringify(finding));
    for (const line of shown(finding, clock.wall())) await out.line(line);
  },
});

function shown(finding: FindingItem, nowMs: number): string[] {
  const { event, run, acknowledgedBy, acknowledgedAt, resolution, resolvedBy, resolvedAt, reason } = finding;
  const facts: [name: string, value: string | null][] = [
    ["title", finding.title],
    ["severity", finding.severity],
    ["state", finding.state],
    ["rule", finding.rule],
    ["key", finding.key],
    ["raised", `${finding.count}×`],
    ["first", timeAndAge(finding.firstAt, nowMs)],
    ["last", timeAndAge(finding.lastAt, nowMs)],
    ["event", event && `${event.id} of ${event.source}`],
    ["run", run],
    ["silenced", finding.silencedBy ? `by ${finding.silencedBy}` : null],
    ["acknowledged", acknowledgedBy && `by ${acknowledgedBy}, ${timeAndAge(acknowledgedAt, nowMs)}`],
    ["resolved", resolvedBy && `by ${resolvedBy}, ${timeAndAge(resolvedAt, nowMs)}`],
    ["as", resolution && resolution.replace("_", " ")],
    ["reason", reason],
    ["data", JSON.stringify(finding.data)],
  ];
  const lines = facts.flatMap(([name, value]) =>
    value === null ? [] : [`${name.padEnd(14)}${plainLine(value)}`],
  );
  const notes = finding.notes.map(
    ({ by, at, text }) => `${timeAndAge(at, nowMs)} ${plainLine(by)}: ${plainLine(text)}`,
  );
  return [
    `Finding ${finding.id}`,
    ...lines,
    ...(notes.length > 0 ? ["notes"] : []),
    ...notes.map((line) => `  ${line}`),
  ];
}

export const finding: CommandDef<any> = defineCommand({
  meta: {
    name: "finding",
    description: "Findings of the agent on this host\n\nExample: holdfast finding list",
  },
  subCommands: { list, show, acknowledge, note, resolve, export: exported },
});
