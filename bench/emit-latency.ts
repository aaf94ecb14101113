import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { EventRecorder } from "../src/agent/events/recorder.ts";
import { RuleSet } from "../src/agent/rules/rule-set.ts";
import { openAgentStore } from "../src/agent/store/open-agent-store.ts";
import { confinedBy } from "./confined.ts";
import { createWorkers, type Workers } from "../src/agent/workers/workers.ts";
import { systemClock } from "../src/core/clock.ts";
import { HoldfastError } from "../src/core/errors.ts";
import { systemIds } from "../src/core/ids.ts";
import { silentLogger } from "../src/core/logger.ts";
import type { ProposedEvent } from "../src/model/event.ts";
import { waitFor, wallMs } from "./agent-home.ts";
import { type Bench, type BenchContext, type Figure, percentile, withFolder } from "./frame.ts";
import { DATA, rawSingles } from "./raw-sqlite.ts";

const ROUNDS = 3;
const SECONDS = 5;
const EVENTS = SECONDS * 1000;
const SINGLES = 2000;
/** The first events of a round find cold code. */
const WARM_UP = 500;

/** One event each millisecond, with when it was yielded; what a late timer missed follows at once. */
const PLUGIN = `import { defineTrigger, v } from "holdfast";
export default defineTrigger({
  name: "pace", description: "emits 1,000 events a second", settings: v.strictObject({}),
  async *run({ clock, signal }) {
    const from = clock.mono();
    for (let n = 0; n < ${EVENTS} && !signal.aborted;) {
      if (clock.mono() - from < n) { await clock.sleep(1, signal); continue; }
      n++;
      yield { type: "bench.event", data: { at: performance.timeOrigin + performance.now(), line: "${DATA}" } };
    }
  },
});
`;

export const bench: Bench = {
  about:
    "from a yield in the trigger's worker to its commit at 1,000 events a second, beside raw commits of one row",
  async run(context) {
    const emits: number[] = [];
    const raw: number[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      raw.push(...(await rawSingles(context.folder, SINGLES)));
      emits.push(...(await withFolder((folder) => paceRound(context, folder), context.folder)));
      context.progress(`round ${round + 1} of ${ROUNDS}`);
    }
    const figure = (name: string, share: number): Figure => ({
      name: `emit to commit, ${name}`,
      value: percentile(emits, share),
      unit: "ms",
      baseline: { name: "bun:sqlite", value: percentile(raw, share) },
    });
    return [figure("median", 0.5), { ...figure("p99", 0.99), goal: { kind: "at most", value: 10 } }];
  },
};

/** The agent's intake in this process: the compiled plugin host, the recorder and the store as the agent wires them. */
async function paceRound({ executable }: BenchContext, folder: string): Promise<number[]> {
  const clock = systemClock();
  const ids = systemIds();
  const log = silentLogger();
  const agent = { id: "bench-01", labels: {}, home: folder };
  const store = await openAgentStore({ path: join(folder, "agent.db"), ids, wall: () => clock.wall() });
  const workdir = join(folder, "workdir");
  await mkdir(workdir);
  const workers = createWorkers({
    clock,
    ids,
    log,
    workdir,
    agent,
    pluginLog: () => ({ write() {} }),
    ...(await confinedBy(executable, workdir)),
  });
  const recorder = new EventRecorder({
    agentId: agent.id,
    store,
    rules: new RuleSet([], { agent, newId: () => ids.next(), maxEventBytes: 256 * 1024 }),
    runs: { room: async () => {}, build: () => nothing(), lease: (made) => made, admit() {}, drop() {} },
    clock,
    ids,
    log,
    maxEventBytes: 256 * 1024,
  });
  try {
    return await pace(workers, folder, (events, checkpoint) => recorder.record("pace", events, checkpoint));
  } finally {
    await store.close();
  }
}

type Record = (events: ProposedEvent[], checkpoint: ProposedEvent["data"]) => Promise<void>;

async function pace(workers: Workers, folder: string, record: Record): Promise<number[]> {
  const file = join(folder, "pace.ts");
  await writeFile(file, PLUGIN);
  const samples: number[] = [];
  const trigger = workers.superviseTrigger({
    name: "pace",
    plugin: { manifest: await workers.describe({ file }), entry: { file } },
    settings: {},
    checkpoint: async () => undefined,
    async onEvents(events, checkpoint) {
      await record(events, checkpoint);
      const committed = wallMs();
      for (const event of events) samples.push(committed - (event.data as { at: number }).at);
    },
  });
  try {
    await waitFor(
      `${EVENTS} events`,
      () => {
        const { state, reason } = trigger.status();
        if (reason !== undefined && samples.length < EVENTS)
          throw new Error(`the trigger is ${state} after ${samples.length} events: ${reason}`);
        return samples.length >= EVENTS;
      },
      50,
      SECONDS * 4000,
    );
  } finally {
    await trigger.stop();
  }
  return samples.slice(WARM_UP);
}

function nothing(): never {
  throw new HoldfastError("failed", "no rule is there to start a pipeline");
}
