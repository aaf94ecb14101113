import { agentCommand } from "./agent-command.ts";
import { explanationSchema, type ShownExplanation } from "./client/explain-schema.ts";
import { explainedCause } from "./explained-cause.ts";
import { explainedSteps } from "./explained-steps.ts";
import { shortJson, whoText } from "./explained-words.ts";
import { fitted, plainLine } from "./plain-text.ts";
import { RUN_ARG } from "./runs-change.ts";
import { age, localTime, took } from "./show-time.ts";

export const explainCommand = agentCommand({
  name: "explain",
  description:
    "Go from what a run did back to why: steps and their workers, approvals, the run's start, rule, events, configuration",
  example: "holdfast runs explain 3f9a12bc",
  args: {
    run: RUN_ARG,
    step: {
      type: "string",
      valueHint: "ID",
      description: "Only this step, with all its attempts and grants",
    },
  },
  async run({ client, out, json, clock }, args) {
    const query = args.step === undefined ? "" : `?step=${encodeURIComponent(args.step)}`;
    const path = `/v1/runs/${encodeURIComponent(args.run)}/explain${query}`;
    const told = await client.ask("GET", path, explanationSchema);
    if (json) return out.line(JSON.stringify(told));
    for (const line of explanationLines(told, clock.wall(), args.step !== undefined))
      await out.line(out.width === undefined ? line : fitted(line, out.width));
  },
});

/** What is told of a run, from what it did to its first cause. `whole`: one step, with all that is known of it. */
export function explanationLines(told: ShownExplanation, nowMs: number, whole = false): string[] {
  const { missing } = told;
  return [
    ...runLines(told, nowMs),
    "",
    "What it did",
    ...explainedSteps(told, whole),
    "",
    "Why",
    ...explainedCause(told),
    ...(missing.length > 0 ? ["", "Not known", ...missing.map((what) => `  ${what}`)] : []),
  ].map(plainLine);
}

function runLines({ run, agent, config }: ShownExplanation, nowMs: number): string[] {
  const { stop, held, reason } = run;
  const state = reason === null ? run.state : `${run.state}: ${reason}`;
  const times =
    run.startedAt === null
      ? `asked for ${localTime(run.createdAt)} (${age(run.createdAt, nowMs)}), not begun`
      : `began ${localTime(run.startedAt)} (${age(run.startedAt, nowMs)}), ${lasted(run)}${waited(run)}`;
  const standing =
    config?.inForce == null ? "" : config.inForce ? ", in force still" : ", another one by now";
  return [
    `Run ${run.id} of pipeline ${run.pipeline}: ${state}`,
    `  ${times}   (holdfast runs show ${run.id.slice(-12)})`,
    `  pipeline version ${run.version.slice(0, 12)}, configuration ${config?.hash ?? "not recorded"}${standing}   (holdfast config show)`,
    `  agent ${agent}${parameters(run.params)}`,
    ...(stop ? [`  ended early by ${whoText(stop)}: ${stop.reason}`] : []),
    ...(held !== null && held !== reason ? [`  held back: ${held}`] : []),
  ];
}

function parameters(params: unknown): string {
  const text = shortJson(params);
  return text === "" ? "" : `, parameters ${text}`;
}

function lasted({ startedAt, endedAt }: ShownExplanation["run"]): string {
  return endedAt === null ? "has not ended" : `took ${took(startedAt, endedAt)}`;
}

/** Longer than anybody looks at is not worth a word. */
function waited({ createdAt, startedAt }: ShownExplanation["run"]): string {
  const waitedMs = Date.parse(startedAt!) - Date.parse(createdAt);
  return waitedMs >= 1000 ? `, after it had waited ${took(createdAt, startedAt)}` : "";
}
