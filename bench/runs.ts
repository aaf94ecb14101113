import { Database } from "bun:sqlite";
import { mkdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { findMetric, waitFor } from "./agent-home.ts";
import { placeEngineHome } from "./engine-home.ts";
import { AGENT_ENVIRONMENT, agentCommand } from "./fleet-of-one.ts";
import { type Bench, type BenchContext, type Figure, median, withFolder } from "./frame.ts";
import { type Program, startProgram } from "./processes.ts";
import { BATCH, fdatasyncs, rawBatches } from "./raw-sqlite.ts";
import { perUnit, type Shares, sharesOf } from "./shares.ts";

const ROUNDS = 3;
const RUNS = 60_160;
const WARM_UP = 40_192;
const IN_FLIGHT = 500;
const POLL_MS = 200;
const ENDED = 'holdfast_agent_runs_ended_total{state="succeeded"}';

/** Yields as many events as the file `go` says, in batches of 256, and writes down when it began. Gets more of the processor than by default. */
const TRIGGER = `import { defineTrigger, v } from "holdfast";
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
export default defineTrigger({
  name: "source", description: "emits as fast as it can", settings: v.strictObject({ folder: v.string() }),
  permissions: { read: ["\${settings.folder}"], write: ["\${settings.folder}"] }, resources: { cpu: 4 },
  async *run({ settings, clock, signal }) {
    const go = settings.folder + "/go";
    for (let offset = 0; !signal.aborted;) {
      if (!existsSync(go)) { await clock.sleep(5, signal); continue; }
      const count = Number(readFileSync(go, "utf8"));
      rmSync(go);
      writeFileSync(settings.folder + "/begun", String(performance.timeOrigin + performance.now()));
      for (let i = 0; i < count; i += ${BATCH}) {
        const events = [];
        for (let k = 0; k < ${BATCH}; k++) events.push({ type: "bench.event", data: { n: i + k } });
        yield { events, checkpoint: { offset: ++offset } };
      }
    }
  },
});
`;

export const bench: Bench = {
  about: `single-step runs a second from a trigger's event to the end, ${IN_FLIGHT} steps in flight, three durable changes each, a no-op action in a warm confined worker; beside raw bun:sqlite at FULL and fdatasync`,
  async run(context) {
    const rounds: (Round & { raw: number; fdatasync: number })[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      const raw = await rawBatches(context.folder, RUNS);
      const fdatasync = median(await fdatasyncs(context.folder, 100));
      const measured = await withFolder((folder) => agentRound(context, folder), context.folder);
      rounds.push({ ...measured, raw, fdatasync });
      const { main, storage, rest, workers } = measured.shares;
      const shares = `main ${main.toFixed(0)}, storage ${storage.toFixed(0)}, engine's own ${rest.toFixed(0)}, workers ${workers.toFixed(0)} µs a run`;
      context.progress(`round ${round + 1}: ${Math.round(measured.rate)} runs/s; ${shares}`);
    }
    return figures(rounds);
  },
};

interface Round {
  rate: number;
  shares: Shares;
}

function figures(rounds: (Round & { raw: number; fdatasync: number })[]): Figure[] {
  const of = (value: (round: (typeof rounds)[number]) => number) => median(rounds.map(value));
  const share = (name: string, key: keyof Shares): Figure => ({
    name: `of a run, ${name}`,
    value: of((round) => round.shares[key]),
    unit: "µs",
  });
  return [
    {
      name: `single-step runs, ${IN_FLIGHT} in flight`,
      value: of((round) => round.rate),
      unit: "1/s",
      baseline: { name: "bun:sqlite rows", value: of((round) => round.raw) },
      goal: { kind: "at least", value: 10_000 },
    },
    { name: "fdatasync, median", value: of((round) => round.fdatasync), unit: "ms" },
    share("processor time of the main thread", "main"),
    share("processor time of the storage thread", "storage"),
    share("processor time of compiler and collector", "rest"),
    share("processor time of workers", "workers"),
    share("ready and without a processor", "waited"),
  ];
}

/** A fresh store each round, as the baseline has; the first burst is left out, for the compiler of JavaScript. */
async function agentRound({ executable }: BenchContext, home: string): Promise<Round> {
  const signals = join(home, "signals");
  await mkdir(signals);
  const root = await placeEngineHome(home, {
    trigger: TRIGGER,
    settings: `{ folder: ${signals} }`,
    input: "{}",
    limits: `{ steps: ${IN_FLIGHT}, runs: ${IN_FLIGHT * 4}, side_effects: 1000000000 }`,
    concurrency: IN_FLIGHT * 2,
  });
  const agent = await startProgram(agentCommand(executable, home), { env: AGENT_ENVIRONMENT });
  let begunMs: number;
  let shares: Shares;
  try {
    await burst(agent, signals, WARM_UP, WARM_UP);
    ({ begunMs, shares } = await burst(agent, signals, RUNS, WARM_UP + RUNS));
  } finally {
    await agent.stop();
  }
  return { rate: (RUNS / (lastEndMs(root) - begunMs)) * 1000, shares };
}

async function burst(
  agent: Program,
  signals: string,
  count: number,
  until: number,
): Promise<{ begunMs: number; shares: Shares }> {
  const begun = join(signals, "begun");
  await rm(begun, { force: true });
  await writeFile(join(signals, "go.new"), String(count));
  const before = sharesOf(agent.pid);
  await rename(join(signals, "go.new"), join(signals, "go"));
  await waitFor(
    `${until} runs`,
    async () => ((await findMetric(agent, ENDED)) ?? 0) >= until,
    POLL_MS,
    60_000,
  );
  return {
    begunMs: Number(await readFile(begun, "utf8")),
    shares: perUnit(before, sharesOf(agent.pid), count),
  };
}

/** As the store has it: to ask the agent often enough to see the moment would cost it more than many runs. */
function lastEndMs(root: string): number {
  const database = new Database(join(root, "data/state/agent.db"), { readonly: true });
  const { endedMs } = database.query("SELECT max(ended_ms) AS endedMs FROM runs").get() as {
    endedMs: number;
  };
  database.close();
  return endedMs;
}
