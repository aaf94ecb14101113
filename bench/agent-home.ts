/** Homes of agents for benchmarks: a configuration, plugins and files placed before the start. */
import { mkdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { AGENT_ID } from "./fleet-of-one.ts";
import type { Program } from "./processes.ts";

/** Makes the agent's folder below `home` with these files (path in it, text) and gives it. */
export async function placeHome(home: string, files: Record<string, string>): Promise<string> {
  const root = join(home, `agent-${AGENT_ID}`);
  for (const [name, text] of Object.entries(files)) {
    const path = join(root, name);
    await mkdir(dirname(path), { recursive: true, mode: 0o750 });
    await writeFile(path, text, { mode: 0o600 });
  }
  return root;
}

/** One value of the agent's /metrics. */
export async function readMetric(agent: Program, name: string): Promise<number> {
  const value = await findMetric(agent, name);
  if (value === undefined) throw new Error(`/metrics has no ${name}`);
  return value;
}

/** A series with labels is there only once it has counted something. */
export async function findMetric(agent: Program, name: string): Promise<number | undefined> {
  const text = await (await fetch(`${agent.ready.health}/metrics`)).text();
  const value = text.match(new RegExp(`^${RegExp.escape(name)} (\\S+)$`, "m"))?.[1];
  return value === undefined ? undefined : Number(value);
}

/** Looks each `everyMs` until `look` says yes. */
export async function waitFor(
  what: string,
  look: () => boolean | Promise<boolean>,
  everyMs: number,
  limitMs = 30_000,
): Promise<void> {
  const deadline = performance.now() + limitMs;
  while (!(await look())) {
    if (performance.now() > deadline) throw new Error(`waited ${limitMs} ms in vain: ${what}`);
    await Bun.sleep(everyMs);
  }
}

/** Unix milliseconds with their fractions: comparable between processes of this machine. */
export const wallMs = () => performance.timeOrigin + performance.now();
