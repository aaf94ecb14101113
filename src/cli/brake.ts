import { type CommandDef, defineCommand } from "citty";
import * as v from "valibot";
import { parseDuration } from "../core/duration.ts";
import { HoldfastError, messageOf } from "../core/errors.ts";
import { agentCommand } from "./agent-command.ts";
import { timeAndAge } from "./show-time.ts";

const text = v.string();
const stateSchema = v.looseObject({
  on: v.boolean(),
  by: v.nullable(text),
  reason: v.nullable(text),
  since: v.nullable(text),
  until: v.nullable(text),
  maintenance: v.array(v.looseObject({ name: text, until: text })),
  held: v.looseObject({ runs: v.number(), steps: v.number() }),
});
export type BrakeState = v.InferOutput<typeof stateSchema>;
const releasedSchema = v.looseObject({ ...stateSchema.entries, released: v.boolean() });
const PATH = "/v1/brake";

/** What `brake status` and `agent status` say. */
export function brakeLines(state: BrakeState, nowMs: number): string[] {
  if (!state.on) return ["The brake is off: what rules and schedules start begins."];
  const { by, reason, since, until, maintenance, held } = state;
  return [
    "The brake is on: nothing begins that no person started.",
    ...(by === null
      ? []
      : [
          `Set by ${by} at ${timeAndAge(since, nowMs)}, ${until === null ? "until it is released" : `until ${timeAndAge(until, nowMs)}`}${reason ? `: ${reason}` : ""}`,
        ]),
    ...maintenance.map(
      ({ name, until: end }) => `Maintenance window ${name}, until ${timeAndAge(end, nowMs)}`,
    ),
    `Held back: ${held.runs} runs that have not begun, ${held.steps} steps of others.`,
  ];
}

const on = agentCommand({
  name: "on",
  description:
    "Let nothing begin that no person started: what runs ends, what rules and schedules start waits",
  example: "holdfast brake on --reason 'disk swap' --for 2h",
  args: {
    reason: { type: "string", valueHint: "TEXT", description: "Why; runs that wait show it" },
    for: {
      type: "string",
      valueHint: "TIME",
      description: "Released by itself after so long (default: never)",
    },
  },
  async run({ client, out, json, clock }, args) {
    if (args.for !== undefined) checkDuration("--for", args.for);
    const asked = { ...(args.reason ? { reason: args.reason } : {}), ...(args.for ? { for: args.for } : {}) };
    const state = await client.ask("POST", PATH, stateSchema, asked);
    if (json) return out.line(JSON.stringify(state));
    for (const line of brakeLines(state, clock.wall())) await out.line(line);
  },
});

const off = agentCommand({
  name: "off",
  description: "Release the brake: what it held back goes on, in order",
  example: "holdfast brake off",
  args: {},
  async run({ client, out, json, clock }) {
    const state = await client.ask("DELETE", PATH, releasedSchema);
    if (json) return out.line(JSON.stringify(state));
    await out.line(state.released ? "The brake is released." : "Nobody had set the brake.");
    if (state.on) for (const line of brakeLines(state, clock.wall())) await out.line(line);
  },
});

const status = agentCommand({
  name: "status",
  description: "Show whether the brake is on, who set it and what it holds back",
  example: "holdfast brake status",
  args: {},
  async run({ client, out, json, clock }) {
    const state = await client.ask("GET", PATH, stateSchema);
    if (json) return out.line(JSON.stringify(state));
    for (const line of brakeLines(state, clock.wall())) await out.line(line);
  },
});

/** Before anybody is asked: a wrong command line is told as one. */
export function checkDuration(flag: string, text: string): void {
  try {
    parseDuration(text);
  } catch (error) {
    throw new HoldfastError("usage", `${flag}: ${messageOf(error)}`);
  }
}

export const brake: CommandDef<any> = defineCommand({
  meta: {
    name: "brake",
    description:
      "Stop what the agent on this host does by itself, until it is released\n\nExample: holdfast brake status",
  },
  subCommands: { on, off, status },
});
