import { join } from "node:path";
import { openAgentStore } from "../src/agent/store/open-agent-store.ts";
import type { EventCommit } from "../src/agent/store/port.ts";
import { type Ids, systemIds } from "../src/core/ids.ts";
import { type Bench, median, withFolder } from "./frame.ts";
import { BATCH, DATA, rawBatches } from "./raw-sqlite.ts";

const EVENTS = 100_000;
const IN_FLIGHT = 16;
const ROUNDS = 7;
const SOURCE = "urn:holdfast:agent:web-01/app";

export const bench: Bench = {
  about:
    "events a second through the agent's store alone, beside raw bun:sqlite in batches of 256, both at FULL",
  async run({ folder, progress }) {
    const ids = systemIds();
    const rounds: { raw: number; store: number }[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      const raw = await rawBatches(folder, EVENTS);
      const store = await withFolder((inner) => storeRound(inner, ids), folder);
      rounds.push({ raw, store });
      progress(`round ${round + 1}: raw ${Math.round(raw)}/s, store ${Math.round(store)}/s`);
    }
    return [
      {
        name: "store, batches of 256",
        value: median(rounds.map(({ store }) => store)),
        unit: "1/s",
        baseline: { name: "bun:sqlite", value: median(rounds.map(({ raw }) => raw)) },
        goal: { kind: "ratio at least", value: 0.3 },
      },
    ];
  },
};

async function storeRound(folder: string, ids: Ids): Promise<number> {
  const store = await openAgentStore({ path: join(folder, "agent.db"), ids, wall: Date.now });
  const commits = Array.from({ length: Math.ceil(EVENTS / BATCH) }, () => commitOf(ids, Date.now()));
  let next = 0;
  const lane = async () => {
    while (next < commits.length) await store.commitEvents(commits[next++]!);
  };
  const begin = performance.now();
  await Promise.all(Array.from({ length: IN_FLIGHT }, lane));
  const rate = (EVENTS / (performance.now() - begin)) * 1000;
  await store.close();
  return rate;
}

function commitOf(ids: Ids, nowMs: number): EventCommit {
  const time = new Date(nowMs).toISOString();
  const events = Array.from({ length: BATCH }, () => {
    const id = ids.next();
    const event = { specversion: "1.0", id, source: SOURCE, type: "log.line", time, data: { line: DATA } };
    return { source: SOURCE, id, type: "log.line", timeMs: nowMs, body: JSON.stringify(event) };
  });
  return { trigger: "app", events, runs: [], checkpoint: { offset: nowMs }, recordedMs: nowMs };
}
