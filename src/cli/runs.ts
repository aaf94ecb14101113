import { type CommandDef, defineCommand } from "citty";
import { HoldfastError } from "../core/errors.ts";
import { hasEnded, type RunState } from "../model/run.ts";
import { approve, cancel, deny, retry, RUN_ARG } from "./runs-change.ts";
import { type ShownRun, shownRun, type ShownStep } from "./runs-detail.ts";
import { followRun } from "./runs-follow.ts";
import { list } from "./runs-list.ts";
import { linesOfRun, runLogs } from "./runs-logs.ts";
import { marksFor } from "./runs-marks.ts";
import { showRun } from "./runs-show.ts";
import { explainCommand as explain } from "./runs-explain.ts";
import { type SourceContext, sourceCommand } from "./source-command.ts";

const show = sourceCommand({
  name: "show",
  description: "Show one run: its steps as a graph with states, attempts, durations, errors, output",
  example: "holdfast runs show 3f9a12bc",
  args: { run: RUN_ARG },
  async run(context, args) {
    const run = await context.source.run(args.run, args.agent);
    if (context.json) return context.out.line(JSON.stringify(run));
    const { width, color } = context.out;
    const options = { width, color, marks: marksFor(process.env) };
    for (const line of showRun(shownRun(run), context.clock.wall(), options)) await context.out.line(line);
  },
});

const logs = sourceCommand({
  name: "logs",
  description:
    "Print what the steps of a run wrote: stdout (OUT), stderr (ERR), what plugins logged (LOG), output, errors",
  example: "holdfast runs logs 3f9a12bc --step note",
  args: {
    run: RUN_ARG,
    step: { type: "string", valueHint: "ID", description: "Only this step" },
    follow: { type: "boolean", description: "Go on with each step that ends, until the run has ended" },
  },
  live: (args) => args.follow === true,
  async run(context, args) {
    const run = shownRun(await context.source.run(args.run, args.agent));
    const wanted = (step: ShownStep) => args.step === undefined || step.step === args.step;
    if (args.follow) return await followLogs(context, run, wanted);
    const steps = run.steps.filter(wanted);
    if (steps.length === 0 && args.step !== undefined) throw noStep(run, args.step);
    const { items, complete } = await linesOfRun(context.local, run.id);
    const logs = runLogs(steps, items);
    if (context.json) {
      return context.out.line(JSON.stringify({ run: run.id, agent: run.agent, complete, steps: logs }));
    }
    for (const log of logs) await context.out.write(log.text);
    if (!complete) context.note("older lines of its plugins are gone: their logs were rotated");
  },
});

/** Each step as it ends; with `--json` one document a line. */
async function followLogs(
  { local, out, json, note, signal }: SourceContext,
  run: ShownRun,
  wanted: (step: ShownStep) => boolean,
): Promise<void> {
  if (!local) {
    throw new HoldfastError(
      "usage",
      "--follow works with an agent of this host: run the command there, or leave --follow out",
    );
  }
  const ended = await followRun(local, run.id, signal, {
    note,
    async step(step) {
      if (!wanted(step) || !hasEnded(step.state as RunState)) return;
      const { items } = await linesOfRun(local, run.id);
      for (const log of runLogs([step], items))
        await (json ? out.line(JSON.stringify(log)) : out.write(log.text));
    },
  });
  if (ended && !json && hasEnded(ended.state as RunState)) note(`run ${ended.id} is ${ended.state}`);
}

function noStep(run: ShownRun, step: string): HoldfastError {
  const known = run.steps.map((each) => each.step).join(", ");
  return new HoldfastError("not_found", `Run ${run.id} has no step "${step}": its steps are ${known}`);
}

export const runs: CommandDef<any> = defineCommand({
  meta: {
    name: "runs",
    description:
      "Runs of the agent on this host, or of all that the hub knows\n\nExample: holdfast runs list",
  },
  subCommands: { list, show, logs, explain, cancel, retry, approve, deny },
});
