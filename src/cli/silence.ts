import { type CommandDef, defineCommand } from "citty";
import * as v from "valibot";
import { HoldfastError } from "../core/errors.ts";
import { MUTES, parseMatch } from "../model/silence.ts";
import { agentCommand } from "./agent-command.ts";
import { checkDuration } from "./brake.ts";
import { age, timeAndAge } from "./show-time.ts";
import { type Color, table } from "./table.ts";

const text = v.string();
const silenceSchema = v.looseObject({
  id: text,
  state: text,
  match: v.array(text),
  mute: v.array(text),
  comment: text,
  createdBy: text,
  createdAt: v.nullable(text),
  until: v.nullable(text),
  endedBy: v.nullable(text),
  endedAt: v.nullable(text),
  nextAt: v.nullable(text),
  counts: v.looseObject({ runs: v.number(), findings: v.number(), events: v.number() }),
});
type Silence = v.InferOutput<typeof silenceSchema>;
const addedSchema = v.looseObject({ ...silenceSchema.entries, note: v.nullable(text) });
const listSchema = v.looseObject({ items: v.array(silenceSchema) });
const PATH = "/v1/silences";
const COLORS: Record<string, Color> = { active: "yellow" };
const ID = {
  type: "positional",
  required: true,
  description: "Its id in the list, or at least 4 characters of its end (or beginning)",
} as const;

const add = agentCommand({
  name: "add",
  description:
    "Let rules that match do nothing for a while: they go on counting, and are heard again after it",
  example: "holdfast silence add 'rule=front*' --for 2h --comment 'the front is being replaced'",
  args: {
    match: {
      type: "positional",
      required: true,
      description:
        "name=pattern, all that are given must match; of rule, namespace, pipeline, trigger, type, subject, key, severity, label.NAME; * stands for any text",
    },
    for: { type: "string", valueHint: "TIME", description: "How long, like 2h" },
    until: { type: "string", valueHint: "TIME", description: "Until when, like 2027-01-01T06:00:00Z" },
    comment: { type: "string", valueHint: "TEXT", description: "Why (required)" },
    mute: { type: "string", valueHint: "LIST", description: `Some of ${MUTES.join(",")} (default: all)` },
  },
  rest: true,
  async run({ client, out, json, clock, note }, args) {
    const added = await client.ask("POST", PATH, addedSchema, wanted(args));
    if (json) return out.line(JSON.stringify(added));
    await out.line(`Silence ${added.id} holds until ${timeAndAge(added.until, clock.wall())}.`);
    if (added.note !== null) note(`${added.note} The silence holds all the same.`);
  },
});

function wanted(args: { for?: string; until?: string; comment?: string; mute?: string; _: string[] }) {
  for (const match of args._) usage(match, () => parseMatch(match));
  if (args.for !== undefined) checkDuration("--for", args.for);
  if ((args.for === undefined) === (args.until === undefined))
    throw new HoldfastError("usage", "a silence has an end: give one of --for and --until");
  if (!args.comment?.trim())
    throw new HoldfastError("usage", "say why, for whoever finds the silence: --comment TEXT");
  return {
    match: args._,
    comment: args.comment,
    ...(args.for === undefined ? {} : { for: args.for }),
    ...(args.until === undefined ? {} : { until: args.until }),
    ...(args.mute === undefined ? {} : { mute: mutes(args.mute) }),
  };
}

function mutes(list: string): string[] {
  const words = list.split(",").map((word) => word.trim());
  const wrong = words.find((word) => !(MUTES as readonly string[]).includes(word));
  if (wrong === undefined) return words;
  throw new HoldfastError("usage", `--mute: ${JSON.stringify(wrong)} is none of ${MUTES.join(", ")}`);
}

function usage(what: string, check: () => unknown): void {
  try {
    check();
  } catch (error) {
    throw new HoldfastError("usage", error instanceof HoldfastError ? error.message : what);
  }
}

const list = agentCommand({
  name: "list",
  description: "List the silences that hold and the maintenance windows that are open",
  example: "holdfast silence list",
  args: { all: { type: "boolean", description: "Also those that are over, and windows that are closed" } },
  async run({ client, out, json, clock, note }, args) {
    const answer = await client.ask("GET", PATH, listSchema);
    const items = args.all ? answer.items : answer.items.filter(({ state }) => state === "active");
    if (json) return out.line(JSON.stringify({ ...answer, items }));
    if (items.length === 0) return note(args.all ? "this agent has no silences" : "nothing is silenced");
    for (const line of lines(items, clock.wall(), out)) await out.line(line);
  },
});

function lines(
  silences: Silence[],
  nowMs: number,
  options: { width: number | undefined; color: boolean },
): string[] {
  return table(
    silences,
    [
      { title: "SILENCE", value: (row) => row.id },
      { title: "STATE", value: (row) => row.state, color: (state) => COLORS[state] ?? "dim" },
      { title: "MATCH", value: (row) => row.match.join(" "), shrinkTo: 16 },
      { title: "MUTES", value: (row) => row.mute.join(","), shrinkTo: 8 },
      { title: "UNTIL", value: (row) => ends(row, nowMs) },
      { title: "HELD BACK", value: ({ counts }) => counts.runs + counts.findings + counts.events },
      { title: "BY", value: (row) => row.createdBy },
      { title: "COMMENT", value: (row) => row.comment, shrinkTo: 16 },
    ],
    options,
  );
}

function ends({ state, until, endedAt, nextAt }: Silence, nowMs: number): string {
  if (state === "closed") return nextAt === null ? "-" : `opens ${age(nextAt, nowMs)}`;
  return age(endedAt ?? until, nowMs);
}

function details(silence: Silence, nowMs: number): string[] {
  const { counts, endedBy, endedAt } = silence;
  const facts: [string, string | null][] = [
    ["Silence", silence.id],
    ["State", silence.state],
    ["Match", silence.match.join(" ") || null],
    ["Mutes", silence.mute.join(", ") || null],
    ["Comment", silence.comment],
    ["By", silence.createdBy],
    ["Since", silence.createdAt && timeAndAge(silence.createdAt, nowMs)],
    ["Until", silence.until && timeAndAge(silence.until, nowMs)],
    ["Opens", silence.nextAt && timeAndAge(silence.nextAt, nowMs)],
    ["Ended", endedBy && `${timeAndAge(endedAt, nowMs)} by ${endedBy}`],
    ["Held back", `${counts.runs} runs, ${counts.findings} findings, ${counts.events} events`],
  ];
  return facts.flatMap(([name, value]) => (value === null ? [] : [`${`${name}:`.padEnd(11)}${value}`]));
}

const show = agentCommand({
  name: "show",
  description: "Show a silence or a maintenance window, and what it has held back",
  example: "holdfast silence show 3f9a12bc",
  args: { silence: ID },
  async run({ client, out, json, clock }, args) {
    const path = `${PATH}/${encodeURIComponent(args.silence)}`;
    const silence = await client.ask("GET", path, silenceSchema);
    if (json) return out.line(JSON.stringify(silence));
    for (const line of details(silence, clock.wall())) await out.line(line);
  },
});

const end = agentCommand({
  name: "end",
  description: "End a silence now: findings that come again after it are told",
  example: "holdfast silence end 3f9a12bc",
  args: { silence: ID },
  async run({ client, out, json }, args) {
    const path = `${PATH}/${encodeURIComponent(args.silence)}`;
    const silence = await client.ask("DELETE", path, silenceSchema);
    await out.line(json ? JSON.stringify(silence) : `Silence ${silence.id} is over.`);
  },
});

export const silence: CommandDef<any> = defineCommand({
  meta: {
    name: "silence",
    description:
      "What rules of the agent on this host are kept from for a while\n\nExample: holdfast silence list",
  },
  subCommands: { add, list, show, end },
});
