import * as v from "valibot";
import type { AgentClient } from "./client/agent-client.ts";
import { plainLine, plainText } from "./plain-text.ts";
import { errorText, type ShownStep } from "./runs-detail.ts";

const lineSchema = v.looseObject({
  step: v.string(),
  attempt: v.number(),
  time: v.string(),
  level: v.string(),
  stream: v.nullable(v.string()),
  text: v.string(),
  fields: v.unknown(),
});
const linesSchema = v.looseObject({ items: v.array(lineSchema), complete: v.boolean() });
type LogLine = v.InferOutput<typeof lineSchema>;

/** What the plugins of a run logged in its attempts; a hub does not have it. */
export async function linesOfRun(
  local: AgentClient | undefined,
  run: string,
): Promise<{ items: LogLine[]; complete: boolean }> {
  if (!local) return { items: [], complete: true };
  return await local.ask("GET", `/v1/runs/${encodeURIComponent(run)}/lines`, linesSchema);
}

export interface StepLog {
  step: string;
  action: string;
  state: string;
  /** What its attempts logged; of a program that failed also what it printed. */
  lines: LogLine[];
  stdout: string | null;
  stderr: string | null;
  /** What is left of the output beside stdout and stderr. */
  output: unknown;
  error: unknown;
}

/** What each step wrote; `text` is the form for people and does not show in JSON. */
export function runLogs(steps: ShownStep[], logged: LogLine[] = []): (StepLog & { readonly text: string })[] {
  const ofStep = Map.groupBy(logged, ({ step }) => step);
  return steps.map((step) => {
    const { stdout, stderr, rest } = splitOutput(step.output);
    const { action, state, error } = step;
    const lines = ofStep.get(step.step) ?? [];
    const log: StepLog = { step: step.step, action, state, lines, stdout, stderr, output: rest, error };
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
  const last = tries.at(-1)?.number;
  for (const attempt of tries.slice(0, -1)) {
    lines.push(plainLine(`-- attempt ${attempt.number}: ${errorText(attempt.error) || attempt.state}`));
    lines.push(...loggedIn(log.lines, attempt.number));
  }
  if (tries.length > 1) lines.push(`-- attempt ${last}`);
  if (last !== undefined) lines.push(...loggedIn(log.lines, last));
  lines.push(...marked("OUT", log.stdout), ...marked("ERR", log.stderr));
  if (log.output !== null) lines.push("-- output", plainText(JSON.stringify(log.output, null, 2)));
  const error = errorText(log.error);
  if (error !== "") lines.push(`-- error: ${plainLine(error)}`);
  return `${lines.join("\n")}\n`;
}

/** Streams as those of the output are marked; what a plugin says itself as LOG with its level. */
function loggedIn(lines: LogLine[], attempt: number): string[] {
  return lines
    .filter((line) => line.attempt === attempt)
    .flatMap(({ stream, level, text, fields }) => {
      if (stream !== null) return marked(stream === "stderr" ? "ERR" : "OUT", text);
      const more = fields === null || fields === undefined ? "" : ` ${JSON.stringify(fields)}`;
      return marked("LOG", `${level} ${text}${more}`);
    });
}

function marked(mark: string, text: string | null): string[] {
  const clean = plainText(text ?? "").trimEnd();
  return clean === "" ? [] : clean.split("\n").map((line) => `${mark} ${line}`);
}
