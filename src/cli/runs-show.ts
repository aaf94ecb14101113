import type { RunDetail, StepItem } from "../hub/api/views.ts";
import { plainLine, plainText } from "./plain-text.ts";
import { timeAndAge, took } from "./show-time.ts";
import { stateColor, table, type TableOptions } from "./table.ts";

/** Lines of `runs show`. */
export function showRun(run: RunDetail, nowMs: number, options: TableOptions): string[] {
  const rows: [string, string][] = [
    ["Run", run.id],
    ["Agent", run.agent],
    ["Pipeline", run.pipeline],
    ["Rule", run.rule ?? "-"],
    ["Event", run.event ? `${run.event.id} of ${run.event.source}` : "-"],
    ["State", run.state],
    ["Reason", run.reason ?? "-"],
    ["Created", timeAndAge(run.createdAt, nowMs)],
    ["Started", timeAndAge(run.startedAt, nowMs)],
    [
      "Ended",
      `${timeAndAge(run.endedAt, nowMs)}${run.endedAt ? `, took ${took(run.startedAt, run.endedAt)}` : ""}`,
    ],
  ];
  const facts = table(
    rows,
    [
      { title: "", value: ([name]) => name },
      { title: "", value: ([, value]) => value, color: stateColor },
    ],
    { ...options, width: undefined, header: false },
  );
  const steps = table(
    run.steps,
    [
      { title: "STEP", value: (row) => (row.part === "on_failure" ? `${row.step} (on failure)` : row.step) },
      { title: "ACTION", value: (row) => row.action },
      { title: "STATE", value: (row) => row.state, color: stateColor },
      { title: "ATTEMPTS", value: (row) => row.attempts },
      { title: "TOOK", value: (row) => took(row.startedAt, row.endedAt) },
      { title: "EFFECT", value: (row) => row.effect },
      { title: "NEEDS", value: (row) => row.needs.join(",") },
      { title: "REASON", value: stepReason, shrinkTo: 16 },
    ],
    options,
  );
  return [...facts, "", ...steps, ...run.steps.flatMap(outputLines)];
}

function stepReason(step: StepItem): string {
  return [step.reason, errorText(step.error)].filter(Boolean).join("; ");
}

function outputLines(step: StepItem): string[] {
  if (step.output === null || step.output === undefined) return [];
  const text = plainText(JSON.stringify(step.output, null, 2));
  return ["", `Output of ${plainLine(step.step)}`, ...text.split("\n").map((line) => `  ${line}`)];
}

/** `code: message` of a step's error; what an action returned is not trusted to have the shape. */
function errorText(error: unknown): string {
  if (error === null || error === undefined) return "";
  if (typeof error !== "object") return String(error);
  const { code, message } = error as { code?: unknown; message?: unknown };
  if (typeof message !== "string") return JSON.stringify(error);
  return typeof code === "string" ? `${code}: ${message}` : message;
}

export interface StepLog {
  step: string;
  action: string;
  state: string;
  stdout: string | null;
  stderr: string | null;
  /** What is left of the output beside stdout and stderr. */
  output: unknown;
  error: unknown;
}

/** What each step wrote; `text` is the form for people and does not show in JSON. */
export function runLogs(steps: StepItem[]): (StepLog & { readonly text: string })[] {
  return steps.map((step) => {
    const { stdout, stderr, rest } = splitOutput(step.output);
    const { action, state, error } = step;
    const log: StepLog = { step: step.step, action, state, stdout, stderr, output: rest, error };
    return Object.defineProperty(log, "text", { enumerable: false, get: () => logText(log) }) as StepLog & {
      readonly text: string;
    };
  });
}

function splitOutput(output: unknown): { stdout: string | null; stderr: string | null; rest: unknown } {
  if (typeof output !== "object" || output === null || Array.isArray(output)) {
    return { stdout: null, stderr: null, rest: output ?? null };
  }
  const { stdout, stderr, ...rest } = output as Record<string, unknown>;
  return {
    stdout: typeof stdout === "string" ? stdout : null,
    stderr: typeof stderr === "string" ? stderr : null,
    rest: Object.keys(rest).length > 0 ? rest : null,
  };
}

function logText(log: StepLog): string {
  const lines = [`== ${plainLine(log.step)} (${plainLine(log.action)}): ${plainLine(log.state)}`];
  if (log.stdout) lines.push(plainText(log.stdout).trimEnd());
  if (log.stderr) lines.push("-- stderr", plainText(log.stderr).trimEnd());
  if (log.output !== null) lines.push("-- output", plainText(JSON.stringify(log.output, null, 2)));
  const error = errorText(log.error);
  if (error !== "") lines.push(`-- error: ${plainLine(error)}`);
  return `${lines.join("\n")}\n`;
}
