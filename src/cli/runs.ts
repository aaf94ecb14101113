import { type CommandDef, defineCommand } from "citty";
import { HoldfastError } from "../core/errors.ts";
import type { RunItem } from "../hub/api/views.ts";
import { hubCommand } from "./hub-command.ts";
import { printList } from "./pages.ts";
import { approve, deny } from "./runs-decide.ts";
import { runLogs, showRun } from "./runs-show.ts";
import { age, localTime, took } from "./show-time.ts";
import { wholeNumber } from "./strict-args.ts";
import { stateColor, table } from "./table.ts";

const ID_ARG = {
  type: "positional",
  required: true,
  description: "Id of the run, or at least 4 characters of its end (or beginning)",
} as const;
const AGENT_ARG = { type: "string", valueHint: "ID", description: "Agent of the run" } as const;

const list = hubCommand({
  name: "list",
  description: "List runs, newest first",
  example: "holdfast runs list --pipeline react --state failed",
  args: {
    agent: { type: "string", valueHint: "ID", description: "Only runs on this agent" },
    pipeline: { type: "string", valueHint: "NAME", description: "Only runs of this pipeline" },
    state: { type: "string", valueHint: "STATE", description: "Only runs in this state, such as failed" },
    limit: { type: "string", valueHint: "N", default: "50", description: "At most so many" },
    all: { type: "boolean", description: "All that the hub has" },
  },
  async run(context, args) {
    const { agent, pipeline, state } = args;
    const limit = args.all ? undefined : wholeNumber("limit", args.limit, 1, 1_000_000);
    const nowMs = context.clock.wall();
    // On a terminal the end of an id is enough: `runs show` takes it. Programs get it whole.
    const shownId = (row: RunItem) => (context.out.width === undefined ? row.id : row.id.slice(-12));
    await printList<RunItem>(context, {
      fetch: (query) => context.client.runs(query),
      filter: { agent, pipeline, state },
      limit,
      none: "no run fits",
      render: (items, header) =>
        table(
          items,
          [
            { title: "RUN", value: shownId },
            { title: "CREATED", value: (row) => localTime(row.createdAt) },
            { title: "AGE", value: (row) => age(row.createdAt, nowMs) },
            { title: "AGENT", value: (row) => row.agent },
            { title: "PIPELINE", value: (row) => row.pipeline },
            { title: "STATE", value: (row) => row.state, color: stateColor },
            { title: "TOOK", value: (row) => took(row.startedAt, row.endedAt) },
            { title: "REASON", value: (row) => row.reason, shrinkTo: 10 },
          ],
          { width: context.out.width, color: context.out.color, header },
        ),
    });
  },
});

const show = hubCommand({
  name: "show",
  description: "Show one run with its steps: states, attempts, durations, errors, output",
  example: "holdfast runs show 3f9a12bc",
  args: { id: ID_ARG, agent: AGENT_ARG },
  async run(context, args) {
    const run = await context.client.run(args.id, args.agent);
    if (context.json) return context.out.line(JSON.stringify(run));
    for (const line of showRun(run, context.clock.wall(), context.out)) await context.out.line(line);
  },
});

const logs = hubCommand({
  name: "logs",
  description: "Print what the steps of a run wrote: stdout, stderr, output, errors",
  example: "holdfast runs logs 3f9a12bc --step note",
  args: {
    id: ID_ARG,
    agent: AGENT_ARG,
    step: { type: "string", valueHint: "ID", description: "Only this step" },
  },
  async run(context, args) {
    const run = await context.client.run(args.id, args.agent);
    const steps = args.step === undefined ? run.steps : run.steps.filter((each) => each.step === args.step);
    if (steps.length === 0 && args.step !== undefined) {
      const known = run.steps.map((each) => each.step).join(", ");
      throw new HoldfastError(
        "not_found",
        `Run ${run.id} has no step "${args.step}": its steps are ${known}`,
      );
    }
    if (context.json)
      return context.out.line(JSON.stringify({ run: run.id, agent: run.agent, steps: runLogs(steps) }));
    for (const log of runLogs(steps)) await context.out.write(log.text);
  },
});

export const runs: CommandDef<any> = defineCommand({
  meta: { name: "runs", description: "Runs that the hub knows of\n\nExample: holdfast runs list" },
  subCommands: { list, show, logs, approve, deny },
});
