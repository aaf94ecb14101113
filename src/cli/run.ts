import { ERROR_CODES, HoldfastError } from "../core/errors.ts";
import { parseDuration } from "../core/duration.ts";
import { nearest } from "../core/nearest.ts";
import { hasEnded, type RunState } from "../model/run.ts";
import { type AgentContext, agentCommand } from "./agent-command.ts";
import type { PipelineInfo } from "./client/agent-client.ts";
import { completeArguments, readInput, terminalAsk } from "./run-arguments.ts";
import { errorText, type ShownRun, type ShownStep, shownRun } from "./runs-detail.ts";
import { finalStep, followRun } from "./runs-follow.ts";
import { stepReason } from "./runs-show.ts";
import { plainLine } from "./plain-text.ts";
import { took } from "./show-time.ts";
import { colored, stateColor } from "./table.ts";

export const run = agentCommand({
  name: "run",
  description: "Start a run of a pipeline on this host's agent and follow it to its end",
  example: "holdfast run restart-front unit=front --timeout 5m",
  args: {
    pipeline: {
      type: "positional",
      required: true,
      description: "Pipeline to run, then its parameters: name=value …",
    },
    input: {
      type: "string",
      valueHint: "FILE",
      description: "Parameters from a YAML or JSON file; - is stdin",
    },
    wait: {
      type: "boolean",
      default: true,
      description: "Follow the run to its end",
      negativeDescription: "Only start it",
    },
    timeout: {
      type: "string",
      valueHint: "TIME",
      description: "Wait at most so long, like 5m; the run goes on",
    },
  },
  rest: true,
  live: true,
  async run(context, args) {
    const { client, json, out } = context;
    const timeoutMs = args.timeout === undefined ? undefined : parseTimeout(args.timeout);
    const words = args._.slice(1);
    const pipeline = named(args.pipeline, await client.pipelines(), client.home.id);
    const base = args.input === undefined ? {} : await readInput(args.input);
    const params = await argumentsFor(pipeline, words, base, json || args.input === "-");
    const id = await client.start(pipeline.name, params);
    const begun = shownRun(await client.run(id));
    if (!args.wait) return out.line(json ? JSON.stringify(begun) : `Started run ${begun.n} (${id}).`);
    if (!json) await out.line(startLine(begun));
    const ended = await wait(context, id, timeoutMs);
    await out.line(json ? JSON.stringify(await client.run(id)) : finishLine(ended, out.color));
    process.exitCode = exitCode(ended);
  },
});

function parseTimeout(text: string): number {
  try {
    return parseDuration(text);
  } catch {
    throw new HoldfastError("usage", `--timeout: "${text}" is no duration: write one like 30s or 5m`);
  }
}

function named(name: string, pipelines: PipelineInfo[], agent: string): PipelineInfo {
  const found = pipelines.find((each) => each.name === name);
  if (found) return found;
  const names = pipelines.map((each) => each.name);
  const meant = nearest(name, names);
  const hint =
    meant !== undefined
      ? `did you mean ${meant}?`
      : names.length === 0
        ? "none is configured"
        : `there is ${names.slice(0, 10).join(", ")}`;
  throw new HoldfastError("not_found", `agent ${agent} has no pipeline ${name}: ${hint}`);
}

async function argumentsFor(pipeline: PipelineInfo, words: string[], base: object, silent: boolean) {
  const terminal = silent ? undefined : await terminalAsk();
  try {
    return await completeArguments({
      what: `pipeline ${pipeline.name} was not started`,
      definitions: pipeline.params,
      words,
      base: base as Record<string, never>,
      ask: terminal?.ask,
    });
  } finally {
    terminal?.close();
  }
}

/** The run as it ended. Throws when the time is up or somebody pressed Ctrl-C: the run goes on. */
async function wait(context: AgentContext, id: string, timeoutMs: number | undefined): Promise<ShownRun> {
  const { client, clock, json, note, out } = context;
  const late = new AbortController();
  const cancel = timeoutMs === undefined ? () => {} : clock.after(timeoutMs, () => late.abort());
  const signal = AbortSignal.any([context.signal, late.signal]);
  try {
    const last = await followRun(client, id, signal, {
      note,
      async step(step, run) {
        const line = json ? undefined : stepLine(step, run, clock.wall(), out.color);
        if (line !== undefined) await out.line(line);
      },
    });
    if (last && hasEnded(last.state as RunState)) return last;
  } finally {
    cancel();
  }
  const goesOn = `it goes on; see holdfast runs show ${id}, end it with holdfast runs cancel ${id}`;
  if (late.signal.aborted) {
    throw new HoldfastError("timed_out", `run ${id} has not ended after ${timeoutMs! / 1000} s: ${goesOn}`);
  }
  throw new HoldfastError("cancelled", `no longer waiting for run ${id}: ${goesOn}`);
}

function startLine(run: ShownRun): string {
  const by = run.starter?.by ?? "-";
  return plainLine(`Starting run ${run.n} of pipeline ${run.pipeline} (${run.id}), requested by ${by}`);
}

/** Nothing for a step that has its place in the line, and for items, which their step tells of. */
function stepLine(step: ShownStep, run: ShownRun, nowMs: number, color: boolean): string | undefined {
  const asks = step.waits === "approval" || step.waits === "decision";
  const waits = asks || step.waits === "lock" || step.retryAt;
  const tells = hasEnded(step.state as RunState) || step.state === "running" || waits;
  if (!tells) return undefined;
  const attempt = step.state === "running" && step.attempts > 1 ? `, attempt ${step.attempts}` : "";
  const length =
    step.endedAt === null || step.startedAt === null ? "" : ` in ${took(step.startedAt, step.endedAt)}`;
  const why = stepReason(step, nowMs);
  const answer = asks ? `; holdfast runs approve|deny ${run.id} --step '${step.step}'` : "";
  const state = step.retryAt
    ? `attempt ${step.attempts} failed`
    : colored(step.state, stateColor(step.state), color);
  return `${plainLine(`  step ${step.step}: `)}${state}${plainLine(`${attempt}${length}${why === "" ? "" : `: ${why}`}${answer}`)}`;
}

function finishLine(run: ShownRun, color: boolean): string {
  const final = finalStep(run);
  const step = final ? `, final step ${final.step}` : "";
  const error = final && run.state !== "succeeded" ? errorText(final.error) : "";
  const why = run.reason ?? (error || null);
  const state = colored(run.state, stateColor(run.state), color);
  const head = plainLine(`Finished run ${run.n} of pipeline ${run.pipeline} (${run.id})${step}, status `);
  return `${head}${state}${plainLine(` in ${took(run.startedAt ?? run.createdAt, run.endedAt)}${why ? `: ${why}` : ""}`)}`;
}

/** 0 succeeded, 4 a person or a policy said no, 6 out of time, else 1. */
export function exitCode(run: ShownRun): number {
  if (run.state === "succeeded") return 0;
  if (run.state === "timed_out") return ERROR_CODES.timed_out.exit;
  const bad = run.steps.find(
    (step) => step.part === "steps" && !["succeeded", "skipped", "cancelled"].includes(step.state),
  );
  const { code } = (bad?.error ?? {}) as { code?: unknown };
  if (run.state === "failed" && code === "denied") return ERROR_CODES.denied.exit;
  if (run.state === "failed" && bad?.state === "timed_out") return ERROR_CODES.timed_out.exit;
  return ERROR_CODES.failed.exit;
}
