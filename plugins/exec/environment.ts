import type { AgentFacts, Json } from "../../src/sdk/holdfast.ts";

const DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/** The kernel refuses a program whose environment is too large; a longer value is on stdin only. */
const MAX_VALUE = 16 * 1024;
const MAX_INPUTS = 100;

interface Call {
  settings: { input?: unknown; env: Record<string, string> };
  agent: AgentFacts;
  key: string;
  run: string;
  step: string;
  attempt: number;
}

/** A program's environment, from nothing: what the agent was started with is none of its business. */
export function environment({ settings, agent, key, run, step, attempt }: Call): Record<string, string> {
  return {
    PATH: process.env.PATH || DEFAULT_PATH,
    HOME: process.env.HOME || agent.home,
    LANG: process.env.LANG || "C.UTF-8",
    // The one folder that a confined program can always write.
    ...(process.env.TMPDIR ? { TMPDIR: process.env.TMPDIR } : {}),
    ...inputs(settings.input),
    HOLDFAST_KEY: key,
    HOLDFAST_RUN: run,
    HOLDFAST_STEP: step,
    HOLDFAST_ATTEMPT: String(attempt),
    HOLDFAST_AGENT: agent.id,
    ...settings.env,
  };
}

function inputs(input: unknown): Record<string, string> {
  if (typeof input !== "object" || input === null || Array.isArray(input)) return {};
  const variables: Record<string, string> = {};
  for (const [name, value] of Object.entries(input as Record<string, Json>).slice(0, MAX_INPUTS)) {
    if (value === null || typeof value === "object") continue;
    const text = String(value);
    if (Buffer.byteLength(text) > MAX_VALUE || text.includes("\0")) continue;
    variables[`HOLDFAST_INPUT_${name.toUpperCase().replace(/\W/g, "_").slice(0, 100)}`] = text;
  }
  return variables;
}
