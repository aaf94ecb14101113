import { existsSync } from "node:fs";
import { mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { placeHome, waitFor } from "./agent-home.ts";
import { AGENT_ENVIRONMENT, agentCommand } from "./fleet-of-one.ts";
import { type Bench, type BenchContext, median, withFolder } from "./frame.ts";
import { startProgram } from "./processes.ts";
import { rawSingles } from "./raw-sqlite.ts";

const ROUNDS = 3;
const WORKERS = 10;
const WARM_UP = 300;
const OPERATIONS = 2000;
const WANTED = 5000;
const SINGLES = 500;

/** Does what the file `go` says: so many operations one after the other, half of them checkouts, then writes down when. */
const PLUGIN = `import { defineTrigger, v } from "holdfast";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
export default defineTrigger({
  name: "remember", description: "counts as fast as it can",
  settings: v.strictObject({ folder: v.string(), key: v.string() }),
  permissions: { read: ["\${settings.folder}"], write: ["\${settings.folder}"], memory: ["*"] }, resources: { cpu: 4 },
  async *run({ settings: { folder, key }, memory, clock, signal }) {
    for (let turn = 0; !signal.aborted; turn++) {
      while (!existsSync(folder + "/go-" + turn)) await clock.sleep(5, signal);
      const updates = Number(readFileSync(folder + "/go-" + turn, "utf8")) / 2;
      const begun = performance.timeOrigin + performance.now();
      for (let i = 0; i < updates; i++) await memory.update(key, (n = 0) => n + 1);
      const times = [begun, performance.timeOrigin + performance.now()];
      writeFileSync(folder + "/done-" + turn + "-" + key, JSON.stringify(times));
    }
  },
});
`;

export const bench: Bench = {
  about:
    "durable operations a second on the memory (checkouts and updates) from 10 workers, each one after the other, beside single commits of raw bun:sqlite at FULL",
  async run(context) {
    const rounds: { raw: number; memory: number }[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      const raw = 1000 / median(await rawSingles(context.folder, SINGLES));
      const memory = await withFolder((folder) => agentRound(context, folder), context.folder);
      rounds.push({ raw, memory });
      context.progress(
        `round ${round + 1}: raw ${Math.round(raw)} commits/s, memory ${Math.round(memory)}/s`,
      );
    }
    const raw = median(rounds.map((each) => each.raw));
    return [
      {
        name: "memory operations, 10 workers",
        value: median(rounds.map((each) => each.memory)),
        unit: "1/s",
        baseline: { name: "bun:sqlite, single commits", value: raw },
        goal: { kind: "at least", value: Math.min(WANTED, raw / 2) },
      },
    ];
  },
};

async function agentRound({ executable }: BenchContext, home: string): Promise<number> {
  const signals = join(home, "signals");
  await mkdir(signals);
  const triggers = Array.from(
    { length: WORKERS },
    (_, n) => `  - { name: worker-${n}, plugin: remember, with: { folder: ${signals}, key: count-${n} } }\n`,
  );
  await placeHome(home, {
    "config/conf.d/bench.yaml": `triggers:\n${triggers.join("")}`,
    "data/plugins/remember.ts": PLUGIN,
  });
  const agent = await startProgram(agentCommand(executable, home), { env: AGENT_ENVIRONMENT });
  try {
    await turn(signals, 0, WARM_UP);
    return await turn(signals, 1, OPERATIONS);
  } finally {
    await agent.stop();
  }
}

/** Rate from the first worker's beginning to the last one's end. */
async function turn(signals: string, number: number, operations: number): Promise<number> {
  await writeFile(join(signals, "go.new"), String(operations));
  await rename(join(signals, "go.new"), join(signals, `go-${number}`));
  const done = Array.from({ length: WORKERS }, (_, n) => join(signals, `done-${number}-count-${n}`));
  await waitFor("the workers", () => done.every((path) => existsSync(path)), 20, 120_000);
  const times = await Promise.all(
    done.map(async (path) => JSON.parse(await readFile(path, "utf8")) as [number, number]),
  );
  const from = Math.min(...times.map(([begun]) => begun));
  const to = Math.max(...times.map(([, ended]) => ended));
  return ((operations * WORKERS) / (to - from)) * 1000;
}
