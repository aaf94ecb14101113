import { existsSync } from "node:fs";
import { mkdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { placeHome, readMetric, waitFor, wallMs } from "./agent-home.ts";
import { AGENT_ENVIRONMENT, agentCommand } from "./fleet-of-one.ts";
import { type Bench, type BenchContext, median, withFolder } from "./frame.ts";
import { type Program, startProgram } from "./processes.ts";
import { BATCH, DATA, rawBatches } from "./raw-sqlite.ts";

const ROUNDS = 5;
const EVENTS = 300_032;
const WARM_UP = 100_096;
const POLL_MS = 15;
const COUNTER = "holdfast_agent_events_total";

/**
 * Yields as many events as the file `go` says, in batches of 256, and writes down when it began. It asks for more of the
 * processor than a plugin has by default, whose share is not what is measured here.
 */
const PLUGIN = `import { defineTrigger, v } from "holdfast";
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
export default defineTrigger({
  name: "burst", description: "emits as fast as it can", settings: v.strictObject({ folder: v.string() }),
  permissions: { read: ["\${settings.folder}"], write: ["\${settings.folder}"] }, resources: { cpu: 4 },
  async *run({ settings, clock, signal }) {
    const go = settings.folder + "/go";
    const data = { line: "${DATA}" };
    for (let offset = 0; !signal.aborted;) {
      if (!existsSync(go)) { await clock.sleep(5, signal); continue; }
      const count = Number(readFileSync(go, "utf8"));
      rmSync(go);
      writeFileSync(settings.folder + "/begun", String(performance.timeOrigin + performance.now()));
      for (let i = 0; i < count; i += ${BATCH}) {
        const events = [];
        for (let k = 0; k < ${BATCH}; k++) events.push({ type: "bench.event", data });
        yield { events, checkpoint: { offset: ++offset } };
      }
    }
  },
});
`;

export const bench: Bench = {
  about:
    "events a second from a trigger's worker to committed, beside raw bun:sqlite in batches of 256, both at FULL",
  async run(context) {
    const agent: number[] = [];
    const raw: number[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      raw.push(await rawBatches(context.folder, EVENTS));
      agent.push(await withFolder((folder) => agentRound(context, folder), context.folder));
      context.progress(
        `round ${round + 1}: raw ${Math.round(raw.at(-1)!)}/s, agent ${Math.round(agent.at(-1)!)}/s`,
      );
    }
    return [
      {
        name: "trigger's worker to committed",
        value: median(agent),
        unit: "1/s",
        baseline: { name: "bun:sqlite", value: median(raw) },
        goal: { kind: "ratio at least", value: 0.3 },
      },
    ];
  },
};

/** A fresh store each round, as the baseline has; the first burst is left out, for the compiler of JavaScript. */
async function agentRound({ executable }: BenchContext, home: string): Promise<number> {
  const signals = join(home, "signals");
  await mkdir(signals);
  await placeHome(home, {
    "config/conf.d/bench.yaml": `triggers:\n  - { name: burst, plugin: burst, with: { folder: ${signals} } }\n`,
    "data/plugins/burst.ts": PLUGIN,
  });
  const agent = await startProgram(agentCommand(executable, home), { env: AGENT_ENVIRONMENT });
  try {
    await burst(agent, signals, WARM_UP, WARM_UP);
    return await burst(agent, signals, EVENTS, WARM_UP + EVENTS);
  } finally {
    await agent.stop();
  }
}

/** Rate from the plugin's first event until the agent counts all as committed. */
async function burst(agent: Program, signals: string, count: number, until: number): Promise<number> {
  const begun = join(signals, "begun");
  await rm(begun, { force: true });
  await writeFile(join(signals, "go.new"), String(count));
  await rename(join(signals, "go.new"), join(signals, "go"));
  await waitFor("the plugin begins", () => existsSync(begun), POLL_MS);
  await waitFor(`${until} events`, async () => (await readMetric(agent, COUNTER)) >= until, POLL_MS, 60_000);
  return (count / (wallMs() - Number(await readFile(begun, "utf8")))) * 1000;
}
