import { appendFile, mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { AGENT_ENVIRONMENT, AGENT_ID, agentCommand } from "./fleet-of-one.ts";
import { type Bench, type Figure, median, percentile } from "./frame.ts";
import { type Program, runProgram, startProgram } from "./processes.ts";

const DELAY_MS = 100;
const OVER_MS = 10_000;
const BETWEEN_MS = 10;
/** Fewer delayed calls than this while events come in would mean that the shim was not in the way. */
const FEWEST_DELAYED = 20;

export const bench: Bench = {
  about: `/livez while events are written and every fsync takes ${DELAY_MS} ms longer`,
  async run({ executable, folder, progress }) {
    const shim = join(folder, "fsync-delay.so");
    await runProgram([
      "cc",
      "-O2",
      "-shared",
      "-fPIC",
      "-o",
      shim,
      join(import.meta.dir, "fsync-delay.c"),
      "-ldl",
    ]);
    progress("without the delay");
    const plain = await measure(executable, join(folder, "plain"), {});
    progress("with the delay");
    const counter = join(folder, "count");
    await writeFile(counter, new Uint8Array(8));
    const delayed = await measure(executable, join(folder, "delayed"), {
      LD_PRELOAD: shim,
      HOLDFAST_FSYNC_DELAY_MS: String(DELAY_MS),
      HOLDFAST_FSYNC_COUNT: counter,
    });
    const calls = Number((await readFile(counter)).readBigUInt64LE());
    if (calls < FEWEST_DELAYED)
      throw new Error(`only ${calls} fsyncs were delayed: the shim is not in the way`);
    return figures(plain, delayed, calls);
  },
};

/** Answer times of /livez in ms, while lines are appended to a log that the agent follows. */
async function measure(executable: string, home: string, env: Record<string, string>): Promise<number[]> {
  const log = await writeConfig(home);
  const agent = await startProgram(agentCommand(executable, home), { env: { ...AGENT_ENVIRONMENT, ...env } });
  try {
    const stop = new AbortController();
    const writing = writeLines(log, stop.signal);
    const samples = await sampleLivez(agent);
    stop.abort();
    await writing;
    return samples;
  } finally {
    await agent.stop();
  }
}

async function writeConfig(home: string): Promise<string> {
  const root = join(home, `agent-${AGENT_ID}`);
  await mkdir(join(root, "config/conf.d"), { recursive: true, mode: 0o750 });
  await writeFile(
    join(root, "config/conf.d/bench.yaml"),
    "triggers:\n  - { name: lines, plugin: file-tail, with: { path: bench.log } }\n",
    { mode: 0o600 },
  );
  const log = join(root, "bench.log");
  await writeFile(log, "");
  return log;
}

async function writeLines(log: string, signal: AbortSignal): Promise<void> {
  for (let n = 0; !signal.aborted; n++) {
    await appendFile(log, `${n} ${"x".repeat(180)}\n`);
    await Bun.sleep(5);
  }
}

async function sampleLivez(agent: Program): Promise<number[]> {
  const samples: number[] = [];
  const url = `${agent.ready.health}/livez`;
  await (await fetch(url)).text();
  for (const end = performance.now() + OVER_MS; performance.now() < end;) {
    const started = performance.now();
    const response = await fetch(url);
    await response.text();
    if (!response.ok) throw new Error(`/livez says ${response.status}`);
    samples.push(performance.now() - started);
    await Bun.sleep(BETWEEN_MS);
  }
  return samples;
}

function figures(plain: number[], delayed: number[], calls: number): Figure[] {
  const figure = (name: string, of: (samples: number[]) => number): Figure => ({
    name: `/livez, ${name}`,
    value: of(delayed),
    unit: "ms",
    baseline: { name: "no delay", value: of(plain) },
  });
  const slowest = figure("slowest answer", (samples) => Math.max(...samples));
  return [
    figure("median", median),
    figure("p99", (samples) => percentile(samples, 0.99)),
    { ...slowest, goal: { kind: "at most", value: 20 } },
    { name: "fsyncs delayed", value: calls, unit: "" },
  ];
}
