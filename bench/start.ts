import { copyFile, mkdir } from "node:fs/promises";
import { join } from "node:path";
import { buildExecutable } from "../scripts/executable.ts";
import { agentCommand, AGENT_ENVIRONMENT, enrollAgent, startHubBeside, waitForSync } from "./fleet-of-one.ts";
import { type Bench, type BenchContext, type Figure, median } from "./frame.ts";
import { childrenOf, cpuPercent, type Program, pssMb, startProgram } from "./processes.ts";

const STARTS = 12;
const SETTLE_MS = 5_000;
const IDLE_MS = 20_000;

export const bench: Bench = {
  about: "start, memory and idle CPU of the compiled agent, beside a bare compiled HTTP and SQLite program",
  async run(context) {
    const bare = await buildBare(context);
    const agent = {
      command: agentCommand(context.executable, join(context.folder, "home")),
      env: AGENT_ENVIRONMENT,
    };
    context.progress(`${STARTS} starts of each`);
    const starts = await compareStarts(agent, bare);
    context.progress("idle, one after the other");
    const bareIdle = await idle(bare);
    const agentIdle = await idle(agent);
    context.progress("idle with a live mTLS stream to a hub");
    const synced = await idleWithHub(context);
    return [
      ...starts,
      ...memoryFigures(agentIdle, synced, bareIdle),
      ...cpuFigures(agentIdle, synced, bareIdle),
    ];
  },
};

interface Startable {
  command: string[];
  env: Record<string, string>;
}

async function buildBare(context: BenchContext): Promise<Startable> {
  const outfile = join(context.folder, "bare-server");
  await buildExecutable({ outfile, entry: join(import.meta.dir, "bare.ts") });
  const home = join(context.folder, "bare-home");
  await mkdir(home);
  return { command: [outfile, home], env: {} };
}

/** In turns, so that a slow moment of the machine hits both. The first start of each makes its files and is apart. */
async function compareStarts(agent: Startable, bare: Startable): Promise<Figure[]> {
  const first = { agent: await timeToReady(agent), bare: await timeToReady(bare) };
  const agentMs: number[] = [];
  const bareMs: number[] = [];
  for (let i = 0; i < STARTS; i++) {
    bareMs.push(await timeToReady(bare));
    agentMs.push(await timeToReady(agent));
  }
  return [
    {
      name: "start to /readyz, median",
      value: median(agentMs),
      unit: "ms",
      baseline: { name: "bare", value: median(bareMs) },
      goal: { kind: "over baseline at most", value: 250 },
    },
    {
      name: "first start in a new home",
      value: first.agent,
      unit: "ms",
      baseline: { name: "bare", value: first.bare },
    },
  ];
}

/** From before the start of the process until /readyz says 200. */
async function timeToReady(what: Startable): Promise<number> {
  const started = performance.now();
  const program = await startProgram(what.command, { env: what.env });
  try {
    for (;;) {
      const response = await fetch(`${program.ready.health}/readyz`);
      await response.arrayBuffer();
      if (response.ok) return performance.now() - started;
      if (performance.now() - started > 10_000)
        throw new Error(`/readyz still says ${response.status} after 10 s`);
    }
  } finally {
    await program.stop();
  }
}

interface Idle {
  pss: number;
  cpu: number;
}

async function idle(what: Startable, whenReady?: (program: Program) => Promise<void>): Promise<Idle> {
  const program = await startProgram(what.command, { env: what.env });
  try {
    await whenReady?.(program);
    await Bun.sleep(SETTLE_MS);
    const children = childrenOf(program.pid);
    if (children.length > 0)
      throw new Error(`the idle agent has ${children.length} worker processes, not none`);
    const pss = pssMb(program.pid);
    return { pss, cpu: await cpuPercent(program.pid, IDLE_MS) };
  } finally {
    await program.stop();
  }
}

async function idleWithHub(context: BenchContext): Promise<Idle> {
  // The hub runs from a copy: two processes of one file would share its pages, and each would seem half as large.
  const copy = join(context.folder, "holdfast-hub");
  await copyFile(context.executable, copy);
  const hub = await startHubBeside(copy, context.folder);
  try {
    const home = join(context.folder, "synced-home");
    await enrollAgent(context.executable, home, hub);
    return await idle(
      { command: agentCommand(context.executable, home), env: AGENT_ENVIRONMENT },
      waitForSync,
    );
  } finally {
    await hub.program.stop();
  }
}

function memoryFigures(agent: Idle, synced: Idle, bare: Idle): Figure[] {
  const baseline = { name: "bare", value: bare.pss };
  return [
    {
      name: "PSS idle, no hub",
      value: agent.pss,
      unit: "MB",
      baseline,
      goal: { kind: "ratio at most", value: 1.6 },
    },
    {
      name: "PSS idle, live mTLS stream",
      value: synced.pss,
      unit: "MB",
      baseline,
      goal: { kind: "ratio at most", value: 2.4 },
    },
  ];
}

function cpuFigures(agent: Idle, synced: Idle, bare: Idle): Figure[] {
  const baseline = { name: "bare", value: bare.cpu };
  const goal = { kind: "at most", value: 0.5 } as const;
  return [
    { name: "CPU idle, no hub", value: agent.cpu, unit: "%", baseline, goal },
    { name: "CPU idle, live mTLS stream", value: synced.cpu, unit: "%", baseline, goal },
  ];
}
