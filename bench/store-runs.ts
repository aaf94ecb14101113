import { join } from "node:path";
import { openAgentStore } from "../src/agent/store/open-agent-store.ts";
import type { AgentStore, RunChange } from "../src/agent/store/port.ts";
import { DEFINITION } from "../src/agent/store/store-fixtures.ts";
import { systemIds } from "../src/core/ids.ts";
import type { AttemptFacts } from "../src/model/attempt-facts.ts";
import type { PipelineDefinition } from "../src/model/pipeline.ts";
import { newRun } from "../src/model/run-build.ts";
import { runRecord, stepRecord } from "../src/model/run-records.ts";
import type { RunRow, StepRow } from "../src/model/run.ts";
import { type Bench, median, withFolder } from "./frame.ts";
import { rawBatches } from "./raw-sqlite.ts";

const RUNS = 20_000;
const IN_FLIGHT = 256;
const ROUNDS = 5;
const OPEN_RUNS = 10_000;
const SOURCE = "urn:holdfast:agent:web-01/app";
/** Rows of every run: an event, a run, a step, an attempt, seven for the hub. */
const ROWS = 11;

const STEP = DEFINITION.steps[0]!;
const SINGLE: PipelineDefinition = { ...DEFINITION, steps: [STEP] };

/** What an agent keeps with each attempt and run of what they go back to. */
const FACTS: AttemptFacts = {
  worker: "0123456789abcdef",
  ended: { cause: "exited", text: "exited(0)", code: 0, memory: 12_345_678, cpu: 12 },
};

export const bench: Bench = {
  about:
    "single-step runs a second through the agent's store alone (event with run, lease, outcome: three commits each), beside rows of raw bun:sqlite in batches of 256, both at FULL; and 10,000 open runs read at a start",
  async run({ folder, progress }) {
    const rounds: { raw: number; runs: number; cpu: number; open: number }[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      const raw = await rawBatches(folder, RUNS);
      const { runs, cpu } = await withFolder(runsRound, folder);
      const open = await withFolder(openRound, folder);
      rounds.push({ raw, runs, cpu, open });
      const rates = `raw ${Math.round(raw)} rows/s, ${Math.round(runs)} runs/s, ${cpu.toFixed(1)} µs CPU a run`;
      progress(`round ${round + 1}: ${rates}, open runs in ${open.toFixed(0)} ms`);
    }
    const of = (key: keyof (typeof rounds)[number]) => median(rounds.map((each) => each[key]));
    return [
      {
        name: `rows of single-step runs, ${IN_FLIGHT} in flight`,
        value: of("runs") * ROWS,
        unit: "1/s",
        baseline: { name: "bun:sqlite", value: of("raw") },
      },
      {
        name: "single-step runs",
        value: of("runs"),
        unit: "1/s",
        goal: { kind: "at least", value: 10_000 },
      },
      { name: "CPU of a run, both threads", value: of("cpu"), unit: "µs" },
      {
        name: `${OPEN_RUNS} open runs read`,
        value: of("open"),
        unit: "ms",
        goal: { kind: "at most", value: 500 },
      },
    ];
  },
};

async function runsRound(folder: string): Promise<{ runs: number; cpu: number }> {
  const store = await openStore(folder);
  let next = 0;
  const lane = async () => {
    while (next++ < RUNS) await oneRun(store);
  };
  const cpu = process.cpuUsage();
  const begin = performance.now();
  await Promise.all(Array.from({ length: IN_FLIGHT }, lane));
  const runs = (RUNS / (performance.now() - begin)) * 1000;
  const used = process.cpuUsage(cpu);
  await store.close();
  return { runs, cpu: (used.user + used.system) / RUNS };
}

async function openRound(folder: string): Promise<number> {
  const store = await openStore(folder);
  await Promise.all(Array.from({ length: OPEN_RUNS }, () => begun(store)));
  const begin = performance.now();
  const open = await store.openRuns();
  const took = performance.now() - begin;
  await store.close();
  if (open.length !== OPEN_RUNS) throw new Error(`${open.length} of ${OPEN_RUNS} open runs came`);
  return took;
}

async function openStore(folder: string) {
  return await openAgentStore({ path: join(folder, "agent.db"), ids: systemIds(), wall: Date.now });
}

async function begun(store: AgentStore): Promise<{ run: RunRow; step: StepRow }> {
  const [id, eventId, nowMs] = [Bun.randomUUIDv7(), Bun.randomUUIDv7(), Date.now()];
  const event = { source: SOURCE, id: eventId };
  const start = newRun({
    id,
    definition: SINGLE,
    definitionHash: "0".repeat(64),
    rule: "errors",
    starter: { kind: "rule", by: "errors" },
    event,
    params: {},
    config: FACTS.worker,
    createdMs: nowMs,
  });
  const envelope = { specversion: "1.0", ...event, type: "log.line", time: "2026-11-21T04:30:00.000Z" };
  const body = JSON.stringify({ ...envelope, data: { line: "hello" } });
  await store.commitEvents({
    trigger: "app",
    events: [{ ...event, type: "log.line", timeMs: nowMs, body }],
    runs: [{ event: 0, start }],
    checkpoint: { offset: nowMs },
    recordedMs: nowMs,
  });
  return { run: start.run, step: start.steps[0]! };
}

async function oneRun(store: AgentStore): Promise<void> {
  const { run, step } = await begun(store);
  const nowMs = Date.now();
  const lease = { state: "running", fence: 1, attempts: 1, startedMs: nowMs } as const;
  const attempt = { runId: run.id, stepId: step.stepId, number: 1, fence: 1, startedMs: nowMs, error: null };
  const running = { ...run, state: "running", startedMs: nowMs } as const;
  await change(store, {
    runId: run.id,
    guards: [{ stepId: step.stepId, fence: 0, state: "queued" }],
    steps: [{ stepId: step.stepId, ...lease }],
    attempt: { ...attempt, state: "running", endedMs: null },
    run: { state: "running", startedMs: nowMs },
    records: [stepRecord({ ...step, ...lease }, STEP), runRecord(running, SINGLE)],
  });
  const done = { state: "succeeded", endedMs: nowMs } as const;
  const output = { code: 0 };
  await change(store, {
    runId: run.id,
    guards: [{ stepId: step.stepId, fence: 1, state: "running" }],
    steps: [{ stepId: step.stepId, ...done, output }],
    attempt: { ...attempt, ...done, facts: FACTS },
    run: done,
    records: [
      stepRecord({ ...step, ...lease, ...done, output }, STEP),
      runRecord({ ...running, ...done }, SINGLE),
    ],
  });
}

async function change(store: AgentStore, wanted: RunChange): Promise<void> {
  if (!(await store.changeRun(wanted))) throw new Error(`the guard of run ${wanted.runId} did not hold`);
}
