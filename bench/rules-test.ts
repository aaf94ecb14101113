import { Database } from "bun:sqlite";
import { join } from "node:path";
import { storedBody } from "../src/agent/store/envelope.ts";
import { openAgentStore } from "../src/agent/store/open-agent-store.ts";
import { systemIds } from "../src/core/ids.ts";
import { type Bench, timed } from "./frame.ts";

const EVENTS = 1_000_000;
const PARTS = [250_000, 500_000, EVENTS];
const TRIGGERS = 10;
const HOSTS = 500;
/** One event comes so long after the other. */
const EVERY_MS = 100;
const BEGAN_MS = Date.UTC(2026, 9, 1);
const PAGE = 1000;
const SOURCE = "urn:holdfast:agent:bench-01/";

export const bench: Bench = {
  about:
    "rules test: 20 rules over 1 million stored events, 200,000 of which make a rule fire, in a process of its own, beside a bare read of the same rows",
  async run({ executable, folder, progress }) {
    const store = join(folder, "agent.db");
    const config = join(folder, "proposed.yaml");
    await fill(store);
    await Bun.write(config, configuration());
    progress(`${EVENTS} events are stored`);
    const readMs = await timed(async () => readAll(store));
    const peaks: number[] = [];
    let last = { ms: 0, cpuMs: 0 };
    for (const events of PARTS) {
      const until = new Date(BEGAN_MS + events * EVERY_MS).toISOString();
      const words = ["rules", "test", "--config", config, "--store", store, "--since", "60d", "--json"];
      const args = events === EVENTS ? words : [...words, "--until", until];
      const { ms, cpuMs, mb, summary } = await measure([executable, ...args]);
      progress(
        `${summary.events} events, ${summary.added} firings: ${Math.round(ms)} ms, ${Math.round(mb)} MB`,
      );
      if (Math.abs(summary.events - events) > 1) throw new Error(`${summary.events} events, not ${events}`);
      peaks.push(mb);
      last = { ms, cpuMs };
    }
    const [quarter, half, whole] = peaks as [number, number, number];
    return [
      {
        name: "rules test over 1,000,000 events",
        value: last.ms,
        unit: "ms",
        baseline: { name: "bare read", value: readMs },
        goal: { kind: "at most", value: 30_000 },
      },
      { name: "its processor time", value: last.cpuMs, unit: "ms" },
      { name: "its memory at 250,000 events", value: quarter, unit: "MB" },
      { name: "its memory at 500,000 events", value: half, unit: "MB" },
      {
        name: "its memory at 1,000,000 events",
        value: whole,
        unit: "MB",
        baseline: { name: "at 250,000", value: quarter },
        goal: { kind: "ratio at most", value: 1.25 },
      },
    ];
  },
};

async function measure(command: string[]) {
  const child = Bun.spawn(command, { stdout: "pipe", stderr: "inherit" });
  let ended = "";
  const decoder = new TextDecoder();
  const ms = await timed(async () => {
    // Only the summary at the end is kept.
    for await (const chunk of child.stdout) ended = (ended + decoder.decode(chunk)).slice(-2000);
    if ((await child.exited) !== 0) throw new Error(`${command.join(" ")} failed`);
  });
  const summary = JSON.parse(ended.trim().split("\n").at(-1)!) as { events: number; added: number };
  const { maxRSS, cpuTime } = child.resourceUsage()!;
  return { ms, cpuMs: Number(cpuTime.total) / 1000, mb: maxRSS / 1e6, summary };
}

/** An agent's store with the events put straight into it: what is measured is the reading. */
async function fill(path: string): Promise<void> {
  const store = await openAgentStore({ path, ids: systemIds(), wall: () => BEGAN_MS });
  await store.close();
  const database = new Database(path);
  const source = database.prepare("INSERT INTO sources (n, name) VALUES (?, ?)");
  for (let t = 0; t < TRIGGERS; t++) source.run(t + 1, `${SOURCE}t${t}`);
  const insert = database.prepare(
    "INSERT INTO events (n, source, id, type, time_ms, recorded_ms, body) VALUES (?, ?, ?, ?, ?, ?, ?)",
  );
  const put = database.transaction((from: number) => {
    for (let n = from; n < from + 10_000; n++) {
      const trigger = n % TRIGGERS;
      const event = eventOf(n, trigger);
      const body = storedBody(event.source, event.id, event.type, JSON.stringify(event));
      const atMs = BEGAN_MS + n * EVERY_MS;
      insert.run(n, trigger + 1, event.id, event.type, atMs, atMs, body);
    }
  });
  for (let from = 1; from <= EVENTS; from += 10_000) put(from);
  database.run("PRAGMA wal_checkpoint(TRUNCATE)");
  database.close();
}

function eventOf(n: number, trigger: number) {
  return {
    specversion: "1.0",
    id: `01a1e000-0000-7000-8000-${String(n).padStart(12, "0")}`,
    source: `${SOURCE}t${trigger}`,
    type: n % 3 === 0 ? "request.failed" : "request.done",
    time: new Date(BEGAN_MS + n * EVERY_MS).toISOString(),
    subject: `host-${n % HOSTS}`,
    datacontenttype: "application/json",
    data: { status: n % 7 === 0 ? 500 : 200, ms: (n * 37) % 1000, path: `/orders/${n}`, tries: n % 5 },
  };
}

/** For each trigger a condition that fires for a fifth of the events, and a window, a sequence or an absence. */
function configuration(): string {
  const rules = Array.from({ length: TRIGGERS }, (_, t) => [
    {
      name: `slow-${t}`,
      on: `t${t}`,
      when: "event.data.ms >= 800",
      run: "note",
      params: { path: "${{ event.data.path }}" },
    },
    { name: `kept-${t}`, on: `t${t}`, by: "event.subject", ...KINDS[t % KINDS.length] },
  ]).flat();
  const triggers = Array.from({ length: TRIGGERS }, (_, t) => ({
    name: `t${t}`,
    plugin: "file-tail",
    with: { path: `/var/log/t${t}.log` },
  }));
  const steps = [{ id: "note", action: "exec", with: { command: "/bin/true" } }];
  return JSON.stringify({ triggers, rules, pipelines: { note: { params: { path: {} }, steps } } });
}

const FINDING = { finding: { severity: "warning", title: "${{ event.subject }}" } };
const KINDS = [
  { window: { over: "10m", is: "window.count > 1000" }, ...FINDING },
  { window: { over: "1h", compute: "avg", of: "event.data.ms", is: "window.value > 900.0" }, ...FINDING },
  {
    type: ["request.failed", "request.done"],
    sequence: {
      within: "1m",
      steps: [{ type: "request.failed" }, { type: "request.done", when: "event.data.status == 418" }],
    },
    ...FINDING,
  },
  { absence: { for: "2h" }, ...FINDING },
  {
    window: { over: "30m", compute: "distinct", of: "event.data.status", is: "window.value > 2" },
    ...FINDING,
  },
];

function readAll(path: string): void {
  const database = new Database(path, { readonly: true });
  const query = database.query("SELECT * FROM events WHERE n > ? ORDER BY n LIMIT ?");
  for (let after = 0; ;) {
    const rows = query.values(after, PAGE) as [number][];
    if (rows.length === 0) break;
    after = rows.at(-1)![0];
  }
  database.close();
}
