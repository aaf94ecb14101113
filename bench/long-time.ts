import { statSync } from "node:fs";
import { join } from "node:path";
import type { ThreadedAgentStore } from "../src/agent/store/agent-store.ts";
import { openAgentStore } from "../src/agent/store/open-agent-store.ts";
import type { EventCommit } from "../src/agent/store/port.ts";
import { DEFAULT_RETENTION, type Retention } from "../src/agent/store/retention.ts";
import { systemClock } from "../src/core/clock.ts";
import { systemIds } from "../src/core/ids.ts";
import { type Bench, type Figure, median, percentile } from "./frame.ts";
import { fillStore, SOURCE } from "./long-store.ts";
import { DATA, fdatasyncs } from "./raw-sqlite.ts";

/** A month of ten events a second; fewer by HOLDFAST_BENCH_ROWS. */
const ROWS = Number(process.env.HOLDFAST_BENCH_ROWS ?? 26_000_000);
const ROUNDS = 5;
const SECONDS = 10;
const A_SECOND = 1000;
const SYNCS = 1000;
/** The first events of a window find cold pages and cold code, with trimming and without. */
const WARM_UP = 1000;
const MEGABYTE = 1024 ** 2;

interface Window {
  openMs: number;
  samples: number[];
  trimmed: number;
}

export const bench: Bench = {
  about: `event to commit at 1,000 events a second in a store with ${ROWS.toLocaleString("en-US")} events, while they are being trimmed and while not, beside raw fdatasync`,
  async run({ folder, progress }) {
    const path = join(folder, "agent.db");
    const filled = await fillStore(path, ROWS);
    progress(`${ROWS} rows in ${filled.seconds.toFixed(0)} s, ${Math.round(filled.bytes / MEGABYTE)} MB`);
    const bytes = filled.bytes + 512 * MEGABYTE;
    const [quiet, trimming]: [Window[], Window[]] = [[], []];
    const syncs: number[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      syncs.push(...(await fdatasyncs(folder, SYNCS)));
      quiet.push(await window(path, { bytes }));
      trimming.push(await window(path, { bytes, events: { keep: 1, ageMs: 0 } }));
      const trimmed = trimming.at(-1)!.trimmed;
      const told = (of: Window[]) =>
        [0.5, 0.99].map((share) => percentile(of.at(-1)!.samples, share).toFixed(2)).join(" and ");
      progress(
        `round ${round + 1}: median and p99 ${told(quiet)} ms, while trimming ${told(trimming)} ms (${trimmed} rows gone)`,
      );
    }
    return figures(quiet, trimming, syncs, statSync(path).size - bytes);
  },
};

function figures(quiet: Window[], trimming: Window[], syncs: number[], over: number): Figure[] {
  const all = (of: Window[]) => of.flatMap(({ samples }) => samples);
  const sync = { name: "fdatasync", value: median(syncs) };
  const each = (name: string, share: number): Figure[] => [
    { name: `event to commit, ${name}`, value: percentile(all(quiet), share), unit: "ms", baseline: sync },
    {
      name: `the same while trimming`,
      value: percentile(all(trimming), share),
      unit: "ms",
      baseline: { name: "without trimming", value: percentile(all(quiet), share) },
      ...(share === 0.99 ? { goal: { kind: "over baseline at most", value: 1 } as const } : {}),
      ...(share === 1 ? { goal: { kind: "at most", value: 50 } as const } : {}),
    },
  ];
  const seconds = SECONDS * trimming.length;
  return [
    ...each("median", 0.5),
    ...each("p99", 0.99),
    ...each("longest", 1),
    { name: "rows trimmed", value: sum(trimming) / seconds, unit: "1/s" },
    { name: "opening", value: median([...quiet, ...trimming].map(({ openMs }) => openMs)), unit: "ms" },
    {
      name: "file beyond its limit",
      value: Math.max(0, over / MEGABYTE),
      unit: "MB",
      goal: { kind: "at most", value: 0 },
    },
  ];
}

function sum(windows: Window[]): number {
  return windows.reduce((total, { trimmed }) => total + trimmed, 0);
}

async function window(path: string, retention: Partial<Retention>): Promise<Window> {
  const clock = systemClock();
  const from = performance.now();
  const store = await openAgentStore({
    ...{ path, ids: systemIds(), wall: () => clock.wall(), time: clock },
    after: (ms, callback) => clock.after(ms, callback),
    retention: { events: { ...DEFAULT_RETENTION.events, keep: ROWS * 2 }, ...retention },
  });
  const openMs = performance.now() - from;
  try {
    await letGo(store);
    void store.trim();
    const before = await trimmedEvents(store);
    const samples = await pace(store);
    return { openMs, samples: samples.slice(WARM_UP), trimmed: (await trimmedEvents(store)) - before };
  } finally {
    await store.close();
  }
}

/** As by a hub that keeps up: nothing holds the events. */
async function letGo(store: ThreadedAgentStore): Promise<void> {
  for (const { lane, segment, last, lastHash } of await store.streams())
    await store.acknowledge({ epoch: store.facts.epoch, lane, segment, number: last, hash: lastHash });
}

async function trimmedEvents(store: ThreadedAgentStore): Promise<number> {
  const { trimmed } = (await store.stats()).history.tables.events;
  return trimmed.count + trimmed.age + trimmed.size;
}

/** One event a millisecond, each from when it was due to its commit; what a late timer missed follows at once. */
async function pace(store: ThreadedAgentStore): Promise<number[]> {
  const samples: number[] = [];
  const ids = systemIds();
  const waiting: Promise<void>[] = [];
  const from = performance.now();
  for (let n = 0; n < SECONDS * A_SECOND; n++) {
    const due = from + (n * 1000) / A_SECOND;
    while (performance.now() < due) await Bun.sleep(Math.max(0, due - performance.now()));
    const at = performance.now();
    waiting.push(
      store.commitEvents(commitOf(ids.next())).then(() => void samples.push(performance.now() - at)),
    );
  }
  await Promise.all(waiting);
  return samples;
}

function commitOf(id: string): EventCommit {
  const nowMs = Date.now();
  const time = new Date(nowMs).toISOString();
  const event = { specversion: "1.0", id, source: SOURCE, type: "log.line", time, data: { line: DATA } };
  const row = { source: SOURCE, id, type: "log.line", timeMs: nowMs, body: JSON.stringify(event) };
  return { trigger: "app", events: [row], runs: [], checkpoint: { offset: nowMs }, recordedMs: nowMs };
}
