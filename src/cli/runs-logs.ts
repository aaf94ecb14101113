import { plainLine, plainText } from "./plain-text.ts";
import { errorText, type ShownStep } from "./runs-detail.ts";

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
export function runLogs(steps: ShownStep[]): (StepLog & { readonly text: string })[] {
  return steps.map((step) => {
    const { stdout, stderr, rest } = splitOutput(step.output);
    const { action, state, error } = step;
    const log: StepLog = { step: step.step, action, state, stdout, stderr, output: rest, error };
    return Object.defineProperty(log, "text", {
      enumerable: false,
      get: () => logText(log, step.tries ?? []),
    }) as StepLog & { readonly text: string };
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

/** Lines are marked OUT and ERR, so that a search finds either, and none can pass for a heading. */
function logText(log: StepLog, tries: NonNullable<ShownStep["tries"]>): string {
  const lines = [`== ${plainLine(log.step)} (${plainLine(log.action)}): ${plainLine(log.state)}`];
  for (const attempt of tries.slice(0, -1)) {
    lines.push(plainLine(`-- attempt ${attempt.number}: ${errorText(attempt.error) || attempt.state}`));
  }
  lines.push(...marked("OUT", log.stdout), ...marked("ERR", log.stderr));
  if (log.output !== null) lines.push("-- output", plainText(JSON.stringify(log.output, null, 2)));
  const error = errorText(log.error);
  if (error !== "") lines.push(`-- error: ${plainLine(error)}`);
  return `${lines.join("\n")}\n`;
}

function marked(mark: string, text: string | null): string[] {
  const clean = plainText(text ?? "").trimEnd();
  return clean === "" ? [] : clean.split("\n").map((line) => `${mark} ${line}`);
}
