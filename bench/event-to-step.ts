import { Database } from "bun:sqlite";
import { join } from "node:path";
import { findMetric, waitFor } from "./agent-home.ts";
import { PIPELINE, placeEngineHome } from "./engine-home.ts";
import { AGENT_ENVIRONMENT, agentCommand } from "./fleet-of-one.ts";
import { type Bench, type BenchContext, type Figure, percentile, withFolder } from "./frame.ts";
import { startProgram } from "./processes.ts";
import { fdatasyncs, rawSingles } from "./raw-sqlite.ts";

const ROUNDS = 3;
const EVENTS = 400;
/** Events at the start of a round that come all at once and start the worker: an agent that has done nothing yet has cold code. */
const BURST = 3_000;
/** The first of those that come one at a time. */
const WARM_UP = 100;
const ALL = BURST + WARM_UP + EVENTS;
const POLL_MS = 200;
const ENDED = 'holdfast_agent_runs_ended_total{state="succeeded"}';

/** After the burst one event at a time, with when it was yielded; uneven pauses, so that no timer is hit in step. */
const TRIGGER = `import { defineTrigger, v } from "holdfast";
export default defineTrigger({
  name: "source", description: "emits one event at a time", settings: v.strictObject({}), resources: { cpu: 4 },
  async *run({ clock, signal }) {
    for (let n = 0; n < ${ALL} && !signal.aborted; n++) {
      if (n === ${BURST}) await clock.sleep(5000, signal);
      if (n >= ${BURST}) await clock.sleep(8 + (n * 7) % 11, signal);
      yield { type: "bench.event", data: { n, at: performance.timeOrigin + performance.now() } };
    }
  },
});
`;

export const bench: Bench = {
  about:
    "from an event in its trigger's worker to its step in a warm action worker, one at a time: one durable change (event, run and lease) lies between; beside two fdatasyncs and two raw commits of one row",
  async run(context) {
    const steps: number[] = [];
    const syncs: number[] = [];
    const commits: number[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      syncs.push(...(await fdatasyncs(context.folder, EVENTS)));
      commits.push(...(await rawSingles(context.folder, EVENTS)));
      steps.push(...(await withFolder((folder) => agentRound(context, folder), context.folder)));
      context.progress(`round ${round + 1}: median ${percentile(steps, 0.5).toFixed(2)} ms so far`);
    }
    const figure = (name: string, share: number, syncShare: number): Figure => ({
      name: `event to step, ${name}`,
      value: percentile(steps, share),
      unit: "ms",
      baseline: { name: "two fdatasyncs", value: 2 * percentile(syncs, syncShare) },
    });
    return [
      { ...figure("median", 0.5, 0.5), goal: { kind: "over baseline at most", value: 1 } },
      { ...figure("p99", 0.99, 0.99), goal: { kind: "at most", value: 6 } },
      { name: "two raw commits, median", value: 2 * percentile(commits, 0.5), unit: "ms" },
    ];
  },
};

async function agentRound({ executable }: BenchContext, home: string): Promise<number[]> {
  const root = await placeEngineHome(home, {
    trigger: TRIGGER,
    settings: "{}",
    input: "{ at: '${{ event.data.at }}', n: '${{ event.data.n }}' }",
    limits: "{}",
    concurrency: 16,
  });
  const agent = await startProgram(agentCommand(executable, home), { env: AGENT_ENVIRONMENT });
  try {
    await waitFor(`${ALL} runs`, async () => ((await findMetric(agent, ENDED)) ?? 0) >= ALL, POLL_MS, 60_000);
  } finally {
    await agent.stop();
  }
  return samplesOf(join(root, "data/state/agent.db"));
}

/** What the steps gave back: when their event was yielded, and when they began. */
function samplesOf(path: string): number[] {
  const database = new Database(path, { readonly: true });
  const rows = database
    .query(
      "SELECT steps.output FROM steps JOIN runs ON runs.n = steps.run WHERE runs.pipeline = ? ORDER BY runs.n",
    )
    .all(PIPELINE) as { output: string }[];
  database.close();
  if (rows.length !== ALL) throw new Error(`${rows.length} runs, not ${ALL}`);
  return rows.slice(BURST + WARM_UP).map(({ output }) => {
    const { at, startedAt } = JSON.parse(output) as { at: number; startedAt: number };
    return startedAt - at;
  });
}
