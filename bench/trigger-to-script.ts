import { existsSync, readFileSync, statSync } from "node:fs";
import { appendFile } from "node:fs/promises";
import { join } from "node:path";
import { placeHome, waitFor, wallMs } from "./agent-home.ts";
import { AGENT_ENVIRONMENT, agentCommand } from "./fleet-of-one.ts";
import { type Bench, type Figure, percentile } from "./frame.ts";
import { runProgram, startProgram } from "./processes.ts";

const LINES = 200;
const WARM_UP = 20;
/** Between two lines, so that each finds a quiet agent; uneven, so that no timer is hit in step. */
const pauseMs = (n: number) => 20 + ((n * 7) % 23);

export const bench: Bench = {
  about: "from a line appended to a watched file to the start of the script, warm, beside a bare spawn of it",
  async run({ executable, folder, progress }) {
    const stamp = join(folder, "stamp");
    await runProgram(["cc", "-O2", "-o", stamp, join(import.meta.dir, "stamp.c")]);
    const starts = join(folder, "starts");
    const home = join(folder, "home");
    const root = await placeHome(home, {
      "config/conf.d/bench.yaml": config(stamp, starts),
      "bench.log": "",
    });
    const agent = await startProgram(agentCommand(executable, home), { env: AGENT_ENVIRONMENT });
    try {
      progress(`${LINES} lines, one at a time`);
      const byLine = () => appendFile(join(root, "bench.log"), "the disk is full: ERROR\n");
      await firstLine(byLine, starts);
      return await measure(byLine, starts, stamp, join(folder, "bare-starts"));
    } finally {
      await agent.stop();
    }
  },
};

function config(stamp: string, starts: string): string {
  return `triggers:
  - { name: lines, plugin: file-tail, with: { path: bench.log, from: start } }
rules:
  - { name: stamp, on: lines, when: 'event.data.line.contains("ERROR")', run: stamp }
pipelines:
  stamp: { steps: [{ id: stamp, action: exec, with: { command: [${stamp}, ${starts}], write: [${starts}] } }] }
`;
}

/** The first line waits for the workers to start. */
async function firstLine(write: () => Promise<void>, starts: string): Promise<void> {
  await write();
  await waitFor(
    "the script runs for the first line",
    () => existsSync(starts) && statSync(starts).size > 0,
    10,
  );
}

async function measure(
  byLine: () => Promise<void>,
  starts: string,
  stamp: string,
  bareStarts: string,
): Promise<Figure[]> {
  const bare = async () => {
    await Bun.spawn([stamp, bareStarts], { stdio: ["ignore", "pipe", "pipe"] }).exited;
  };
  const agentMs: number[] = [];
  const bareMs: number[] = [];
  for (let n = 0; n < WARM_UP + LINES; n++) {
    bareMs.push(await timeToStart(bare, bareStarts));
    await Bun.sleep(pauseMs(n));
    agentMs.push(await timeToStart(byLine, starts));
    await Bun.sleep(pauseMs(n + 1));
  }
  const figure = (name: string, share: number): Figure => ({
    name: `line to script started, ${name}`,
    value: percentile(agentMs.slice(WARM_UP), share),
    unit: "ms",
    baseline: { name: "bare spawn", value: percentile(bareMs.slice(WARM_UP), share) },
  });
  return [figure("median", 0.5), { ...figure("p99", 0.99), goal: { kind: "at most", value: 50 } }];
}

/** From just before the cause to what the script wrote down. */
async function timeToStart(cause: () => Promise<void>, starts: string): Promise<number> {
  const before = existsSync(starts) ? statSync(starts).size : 0;
  const began = wallMs();
  await cause();
  await waitFor("the script starts", () => existsSync(starts) && statSync(starts).size > before, 2);
  const written = readFileSync(starts, "utf8").slice(before).trim().split("\n");
  if (written.length !== 1) throw new Error(`the script ran ${written.length} times for one line`);
  return Number(BigInt(written[0]!) / 1000n) / 1000 - began;
}
