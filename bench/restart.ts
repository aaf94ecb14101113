import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import * as v from "valibot";
import { pipelineDefinitions } from "../src/agent/config/definitions.ts";
import { planLease } from "../src/agent/runs/plan-lease.ts";
import { openAgentStore } from "../src/agent/store/open-agent-store.ts";
import type { AgentStore } from "../src/agent/store/port.ts";
import { systemIds } from "../src/core/ids.ts";
import { configSchema } from "../src/model/config.ts";
import type { PipelineDefinition } from "../src/model/pipeline.ts";
import { newRun } from "../src/model/run-build.ts";
import { findMetric, placeHome, readMetric, waitFor } from "./agent-home.ts";
import { NOOP } from "./engine-home.ts";
import { AGENT_ENVIRONMENT, agentCommand } from "./fleet-of-one.ts";
import { type Bench, type BenchContext, median, withFolder } from "./frame.ts";
import { type Program, startProgram } from "./processes.ts";
import { fdatasyncs } from "./raw-sqlite.ts";

const ROUNDS = 3;
const RUNS = 10_000;
/** Every second run had a step under way when the agent died. */
const isLeased = (n: number) => n % 2 === 0;
const BATCH = 500;
const ENDED = 'holdfast_agent_runs_ended_total{state="succeeded"}';
const OPEN = "holdfast_agent_runs_open";
const CONFIG = `limits: { steps: 256, runs: 20000, side_effects: 1000000000 }
pipelines:
  restart: { concurrency: 1000, steps: [{ id: first, action: noop }, { id: second, action: noop, needs: [first] }] }
`;

export const bench: Bench = {
  about: `start of an agent with ${RUNS} open runs of two steps, half of them cut off in the middle of the first, until /readyz and until each has ended; beside its start with none`,
  async run(context) {
    const rounds: Round[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      rounds.push(await withFolder((folder) => oneRound(context, folder), context.folder));
      const { ready, ended } = rounds.at(-1)!;
      context.progress(
        `round ${round + 1}: ready in ${ready.toFixed(0)} ms, all ended in ${ended.toFixed(0)} ms`,
      );
    }
    const of = (key: keyof Round) => median(rounds.map((round) => round[key]));
    return [
      {
        name: `start with ${RUNS} open runs to /readyz`,
        value: of("ready"),
        unit: "ms",
        baseline: { name: "no runs", value: of("empty") },
        goal: { kind: "at most", value: 2000 },
      },
      { name: "until every one has ended", value: of("ended"), unit: "ms" },
      { name: "runs that did not succeed", value: of("left"), unit: "", goal: { kind: "at most", value: 0 } },
      { name: "fdatasync, median", value: of("fdatasync"), unit: "ms" },
    ];
  },
};

interface Round {
  empty: number;
  ready: number;
  ended: number;
  left: number;
  fdatasync: number;
}

async function oneRound(context: BenchContext, folder: string): Promise<Round> {
  const fdatasync = median(await fdatasyncs(folder, 100));
  const [empty, full] = [join(folder, "empty"), join(folder, "full")];
  await placeHome(empty, filesOfHome);
  const root = await placeHome(full, filesOfHome);
  const without = await timeToReady(context, empty, async () => {});
  await mkdir(join(root, "data/state"), { recursive: true, mode: 0o750 });
  await seed(join(root, "data/state/agent.db"));
  let ended = 0;
  let left = RUNS;
  const ready = await timeToReady(context, full, async (agent, started) => {
    await waitFor("every run ends", async () => (await readMetric(agent, OPEN)) === 0, 100, 60_000);
    ended = performance.now() - started;
    left = RUNS - ((await findMetric(agent, ENDED)) ?? 0);
  });
  return { empty: without, ready, ended, left, fdatasync };
}

const filesOfHome = { "config/conf.d/bench.yaml": CONFIG, "data/plugins/noop.ts": NOOP };

/** From before the start of the process until /readyz says 200. */
async function timeToReady(
  { executable }: BenchContext,
  home: string,
  then: (agent: Program, started: number) => Promise<void>,
): Promise<number> {
  const started = performance.now();
  const agent = await startProgram(agentCommand(executable, home), { env: AGENT_ENVIRONMENT });
  try {
    await waitFor("/readyz", async () => (await fetch(`${agent.ready.health}/readyz`)).ok, 2);
    const ready = performance.now() - started;
    await then(agent, started);
    return ready;
  } finally {
    await agent.stop();
  }
}

/** A store as an agent leaves it that was killed with these runs. */
async function seed(path: string): Promise<void> {
  const config = v.parse(configSchema, Bun.YAML.parse(CONFIG));
  const definition = pipelineDefinitions(config, () => "idempotent").get("restart")!;
  const store = await openAgentStore({ path, ids: systemIds(), wall: Date.now });
  for (let from = 0; from < RUNS; from += BATCH) {
    await Promise.all(Array.from({ length: BATCH }, (_, index) => openRun(store, definition, from + index)));
  }
  await store.close();
}

async function openRun(store: AgentStore, definition: PipelineDefinition, n: number): Promise<void> {
  const nowMs = Date.now();
  const start = newRun({
    id: Bun.randomUUIDv7(),
    definition,
    definitionHash: new Bun.CryptoHasher("sha256").update(JSON.stringify(definition)).digest("hex"),
    rule: null,
    starter: { kind: "manual", by: "local:0" },
    event: null,
    params: { n },
    createdMs: nowMs,
  });
  await store.startRuns([start]);
  if (!isLeased(n)) return;
  const { run, steps } = start;
  const live = { run, steps: new Map(steps.map((step) => [step.stepId, step])), definition, event: null };
  const { change } = planLease(live, steps[0]!, { wallMs: nowMs, trustedMs: nowMs });
  if (!(await store.changeRun(change))) throw new Error(`run ${run.id} could not be leased`);
}
