import { type CommandDef, defineCommand } from "citty";
import { agentCommand } from "./agent-command.ts";
import type { LaterItem, ScheduleItem } from "./client/schedule-schemas.ts";
import { age, localTime } from "./show-time.ts";
import { type Color, table } from "./table.ts";

const NAME_ARG = { type: "positional", required: true, description: "Name of the schedule" } as const;
const COLORS: Record<string, Color> = { active: "green", paused: "yellow" };
const SHIFTS: Record<string, string> = {
  gap: "the clocks are put forward over it: it comes right after",
  twice: "the clocks show it twice: it comes the first time",
};

const list = agentCommand({
  name: "list",
  description:
    "List the schedules of this host's agent and the runs that are put off: when they are due, what they did",
  example: "holdfast schedules list",
  args: {},
  async run({ client, out, json, clock, note }) {
    const answer = await client.schedules();
    if (json) return out.line(JSON.stringify(answer));
    const { items, later } = answer;
    if (items.length === 0) note("this agent has no schedules");
    else for (const line of lines(items, clock.wall(), out)) await out.line(line);
    if (later.length === 0) return;
    if (items.length > 0) await out.line("");
    for (const line of laterLines(later, clock.wall(), out)) await out.line(line);
  },
});

function lines(
  schedules: ScheduleItem[],
  nowMs: number,
  options: { width: number | undefined; color: boolean },
): string[] {
  return table(
    schedules,
    [
      { title: "SCHEDULE", value: (row) => row.name, shrinkTo: 16 },
      { title: "STATE", value: (row) => row.state, color: (text) => COLORS[text] ?? "dim" },
      { title: "WHEN", value: (row) => row.timing, shrinkTo: 12 },
      { title: "ZONE", value: (row) => row.timeZone, shrinkTo: 8 },
      { title: "RUN", value: (row) => row.run, shrinkTo: 8 },
      { title: "NEXT", value: (row) => (row.nextAt === null ? "-" : age(row.nextAt, nowMs)) },
      { title: "FIRED", value: (row) => row.fired },
      { title: "MISSED", value: (row) => row.missed },
      { title: "LAST FIRED", value: (row) => age(row.lastFiredAt, nowMs) },
      { title: "NOTE", value: (row) => remark(row), shrinkTo: 16 },
    ],
    options,
  );
}

function laterLines(
  later: LaterItem[],
  nowMs: number,
  options: { width: number | undefined; color: boolean },
): string[] {
  return table(
    later,
    [
      { title: "LATER", value: (row) => row.id },
      { title: "RUN", value: (row) => row.pipeline, shrinkTo: 8 },
      { title: "NEXT", value: (row) => age(row.at, nowMs) },
      { title: "BY", value: (row) => row.plugin, shrinkTo: 8 },
      { title: "OF", value: (row) => `${row.run} ${row.step}`, shrinkTo: 12 },
    ],
    options,
  );
}

function remark({ problem, pausedBy, pausedAt }: ScheduleItem): string | null {
  if (pausedBy !== null) return `paused by ${pausedBy} at ${localTime(pausedAt)}`;
  return problem;
}

const change = (verb: "pause" | "resume", description: string) =>
  agentCommand({
    name: verb,
    description,
    example: `holdfast schedules ${verb} nightly`,
    args: { schedule: NAME_ARG },
    async run({ client, out, json }, args) {
      const answer = await client.changeSchedule(args.schedule, verb);
      if (json) return out.line(JSON.stringify(answer));
      const already = answer.changed ? "" : verb === "pause" ? " already" : ", and it was not paused";
      await out.line(
        `Schedule ${answer.name} is ${verb === "pause" ? `paused${already}` : `active${already}`}.`,
      );
    },
  });

const next = agentCommand({
  name: "next",
  description: "Show when a schedule is due next, and where the clocks are changed",
  example: "holdfast schedules next nightly --limit 3",
  args: {
    schedule: NAME_ARG,
    limit: { type: "string", valueHint: "N", description: "How many times (default: 5)" },
  },
  async run({ client, out, json, clock, note }, args) {
    const answer = await client.nextOfSchedule(args.schedule, args.limit);
    if (json) return out.line(JSON.stringify(answer));
    if (answer.items.length === 0) return note(`schedule ${args.schedule} is not due any more`);
    for (const { at, shift } of answer.items) {
      const told = shift === null ? "" : `  ${SHIFTS[shift] ?? shift}`;
      await out.line(`${localTime(at)}  ${at}  ${age(at, clock.wall())}${told}`);
    }
  },
});

const cancel = agentCommand({
  name: "cancel",
  description: "Take back a run that an action has put off",
  example: "holdfast schedules cancel 3f9a12bc",
  args: {
    later: {
      type: "positional",
      required: true,
      description: "Its id in the list, or at least 4 characters of its end (or beginning)",
    },
  },
  async run({ client, out, json }, args) {
    const id = await client.cancelLater(args.later);
    await out.line(json ? JSON.stringify({ id }) : `Run ${id} is put off no more; it will not start.`);
  },
});

export const schedules: CommandDef<any> = defineCommand({
  meta: {
    name: "schedules",
    description: "What the agent on this host starts by time\n\nExample: holdfast schedules list",
  },
  subCommands: {
    list,
    pause: change("pause", "Let a schedule fire no more until it is resumed; survives a restart"),
    resume: change("resume", "Let a paused schedule go on from now"),
    next,
    cancel,
  },
});
