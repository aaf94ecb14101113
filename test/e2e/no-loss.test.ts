/**
 * The promise of the product on the compiled executable: hub and two agents as processes of their own, log lines,
 * scripts, and kill -9 of each of the three in the middle, until attempts have really been interrupted both ways.
 */
import { Database } from "bun:sqlite";
import { afterAll, beforeAll, expect, test } from "bun:test";
import {
  appendFileSync,
  chmodSync,
  existsSync,
  mkdirSync,
  readFileSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import {
  buildExecutable,
  freePort,
  type Holdfast,
  runHoldfast,
  startHoldfast,
  temporaryHome,
  until,
} from "./harness.ts";

const LINES = 2000;
const EVERY = 20;
const MATCHES = LINES / EVERY;
const LEAST_KILLS = 15;
const MAX_KILLS = 60;

interface Agent {
  id: string;
  home: string;
  log: string;
  journal: string;
  process: Holdfast;
  written: number;
}

let executable: string;
let base: string;
let hub: Holdfast;
let hubArgs: string[];
let api: string;
let token: string;
const agents: Agent[] = [];

beforeAll(async () => {
  executable = await buildExecutable();
  base = temporaryHome();
  const [grpc, apiPort, health] = await Promise.all([freePort(), freePort(), freePort()]);
  api = `http://127.0.0.1:${apiPort}`;
  const hubHome = join(base, "hub-home");
  const tokenFile = join(base, "admin.token");
  const listen = [
    "--listen",
    `127.0.0.1:${grpc}`,
    "--api",
    `127.0.0.1:${apiPort}`,
    "--health",
    `127.0.0.1:${health}`,
  ];
  const init = await runHoldfast(executable, [
    "hub",
    "init",
    "--home",
    hubHome,
    ...listen,
    "--name",
    "127.0.0.1",
    "--token-file",
    tokenFile,
    "--json",
  ]);
  expect(init.exitCode).toBe(0);
  const facts = JSON.parse(init.stdout) as { pin: string };
  token = readFileSync(tokenFile, "utf8").trim();
  hubArgs = ["hub", "run", "--home", hubHome, ...listen, "--json"];
  hub = await startHoldfast(executable, hubArgs);
  for (const id of ["web-01", "web-02"])
    agents.push(await makeAgent(id, `grpcs://127.0.0.1:${grpc}`, facts.pin, tokenFile));
}, 240_000);

afterAll(async () => {
  await Promise.all([hub, ...agents.map((agent) => agent.process)].map((item) => item?.kill()));
});

async function makeAgent(id: string, url: string, pin: string, tokenFile: string): Promise<Agent> {
  const made = await runHoldfast(executable, [
    "token",
    "create",
    "--hub",
    api,
    "--token-file",
    tokenFile,
    "--json",
  ]);
  expect(made.stderr + made.exitCode).toEndWith("0");
  const join_ = (JSON.parse(made.stdout) as { token: string }).token;
  const home = join(base, id);
  const enrolled = await runHoldfast(executable, [
    "agent",
    "enroll",
    "--home",
    home,
    "--id",
    id,
    "--hub",
    url,
    "--token",
    join_,
    "--ca-pin",
    pin,
  ]);
  expect(enrolled.stderr + enrolled.exitCode).toEndWith("0");
  const root = join(home, `agent-${id}`);
  const journal = join(root, "journal");
  const script = join(root, "note.sh");
  // The effect is the line in the journal; the sleep after it is the window in which a kill leaves the outcome unknown.
  writeFileSync(script, `#!/bin/sh\necho "$1 $HOLDFAST_KEY $HOLDFAST_ATTEMPT" >> ${journal}\nsleep 0.05\n`);
  chmodSync(script, 0o755);
  const log = join(root, "app.log");
  writeFileSync(log, "");
  mkdirSync(join(root, "config", "conf.d"), { recursive: true });
  writeFileSync(join(root, "config", "conf.d", "test.yaml"), config(script, journal));
  const agent: Agent = { id, home, log, journal, written: 0, process: undefined as unknown as Holdfast };
  agent.process = await startAgent(agent);
  return agent;
}

function config(script: string, journal: string): string {
  const step = (id: string, effect: string) =>
    `      - { id: ${id}, action: exec, with: { command: [${script}, ${effect}], write: [${journal}] }, effect: ${effect}, retry: { attempts: 3, initial: 10ms } }`;
  return [
    "triggers:",
    "  - { name: app, plugin: file-tail, with: { path: app.log, from: start } }",
    "rules:",
    "  - { name: errors, on: app, when: 'event.data.line.contains(\"ERROR\")', run: react }",
    "pipelines:",
    "  react:",
    "    concurrency: 8",
    "    steps:",
    step("again", "idempotent"),
    step("once", "at-most-once"),
    "",
  ].join("\n");
}

function startAgent(agent: Agent): Promise<Holdfast> {
  return startHoldfast(executable, ["agent", "run", "--home", agent.home, "--id", agent.id, "--json"], {
    HOLDFAST__HEALTH__LISTEN: "127.0.0.1:0",
  });
}

function writeLines(agent: Agent, count: number): void {
  let text = "";
  for (let i = 0; i < count && agent.written < LINES; i++) {
    const n = agent.written++;
    text += `${n} ${n % EVERY === 0 ? "ERROR something broke" : "all is well"}\n`;
  }
  appendFileSync(agent.log, text);
}

function journalLines(agent: Agent): { effect: string; key: string; attempt: number }[] {
  if (!existsSync(agent.journal)) return [];
  return readFileSync(agent.journal, "utf8")
    .trim()
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => {
      const [effect, key, attempt] = line.split(" ") as [string, string, string];
      return { effect, key, attempt: Number(attempt) };
    });
}

const ownDatabase = (agent: Agent) =>
  new Database(join(agent.home, `agent-${agent.id}`, "data", "state", "agent.db"), { readonly: true });

/** Kills the agent right after a script has begun, so that its lease is cut. */
async function killMidway(agent: Agent): Promise<void> {
  const before = existsSync(agent.journal) ? statSync(agent.journal).size : 0;
  await until(
    `a script of ${agent.id} begins`,
    () => existsSync(agent.journal) && statSync(agent.journal).size > before,
  );
  await agent.process.kill();
  agent.process = await startAgent(agent);
}

function bothCasesOccurred(): boolean {
  const again = agents.some((agent) => {
    const keys = journalLines(agent).filter((line) => line.effect === "idempotent");
    return new Set(keys.map((line) => line.key)).size < keys.length;
  });
  const uncertain = agents.some((agent) => {
    const db = ownDatabase(agent);
    const found = db.query("SELECT count(*) AS n FROM steps WHERE state = 'uncertain'").get() as {
      n: number;
    };
    db.close();
    return found.n > 0;
  });
  return again && uncertain;
}

async function get<T>(path: string): Promise<T> {
  const response = await fetch(`${api}/api/v1/${path}`, { headers: { authorization: `Bearer ${token}` } });
  if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
  return (await response.json()) as T;
}

async function all<T>(path: string): Promise<T[]> {
  const items: T[] = [];
  for (let next: string | null = ""; next !== null;) {
    const page: { items: T[]; next: string | null } = await get(
      `${path}&limit=1000${next === "" ? "" : `&cursor=${encodeURIComponent(next)}`}`,
    );
    items.push(...page.items);
    next = page.next ?? null;
  }
  return items;
}

test("every line is one event and every match one run, whatever is killed", async () => {
  let kills = 0;
  for (; kills < MAX_KILLS && (kills < LEAST_KILLS || !bothCasesOccurred()); kills++) {
    const agent = agents[kills % 2]!;
    for (const each of agents) writeLines(each, 100);
    if (kills % 3 === 2) {
      await hub.kill();
      hub = await startHoldfast(executable, hubArgs);
    } else if (agent.written < LINES || kills < 18) await killMidway(agent);
  }
  for (const agent of agents) writeLines(agent, LINES);
  expect(bothCasesOccurred()).toBe(true);

  for (const agent of agents) {
    await until(
      `${agent.id}'s runs to end and the hub to have them`,
      async () => {
        const runs = await all<{ state: string }>(`runs?agent=${agent.id}`);
        return (
          runs.length >= MATCHES && runs.every((run) => run.state === "succeeded" || run.state === "failed")
        );
      },
      120_000,
    );
    await until(
      `${agent.id}'s events to be on the hub`,
      async () => (await all(`events?agent=${agent.id}`)).length >= LINES,
      60_000,
    );
  }
  for (const agent of agents) await check(agent);
}, 480_000);

async function check(agent: Agent): Promise<void> {
  const events = await all<{ event: { data: { line: string } } }>(`events?agent=${agent.id}`);
  const numbers = events.map((row) => Number(row.event.data.line.split(" ")[0])).sort((a, b) => a - b);
  expect(numbers).toEqual(Array.from({ length: LINES }, (_, n) => n));
  expect(await all(`runs?agent=${agent.id}`)).toHaveLength(MATCHES);

  const { streams } = await get<{
    streams: { lane: string; segment: number; epoch: string; number: number; hash: string; forked: number }[];
  }>(`agents/${agent.id}`);
  await agent.process.kill();
  const db = ownDatabase(agent);
  const own = db
    .query(
      "SELECT lane, segment, last, lower(hex(last_hash)) AS hash FROM streams WHERE last > 0 ORDER BY lane, segment",
    )
    .all() as { lane: number; segment: number; last: number; hash: string }[];
  const lanes = ["results", "events", "bulk"];
  // One epoch still, and in it the two lanes that were used: nothing was taken for a fork or a loss.
  expect(own.map((row) => row.segment)).toEqual([1, 1]);
  expect(
    streams
      .filter((row) => row.number > 0)
      .map((row) => [row.lane, row.segment, row.number, row.hash, row.forked])
      .sort(),
  ).toEqual(own.map((row) => [lanes[row.lane - 1]!, row.segment, row.last, row.hash, 0]).sort());

  type Step = { run_id: string; step_id: string; state: string; attempts: number };
  const steps = db
    .query(
      "SELECT runs.id AS run_id, step AS step_id, steps.state, attempts FROM steps JOIN runs ON runs.n = steps.run",
    )
    .all() as Step[];
  const attempts = db
    .query(
      "SELECT runs.id AS run_id, step AS step_id, number, attempts.state FROM attempts JOIN runs ON runs.n = attempts.run",
    )
    .all() as {
    run_id: string;
    step_id: string;
    number: number;
    state: string;
  }[];
  db.close();
  const interrupted = new Set(
    attempts
      .filter((row) => row.state === "unknown")
      .map((row) => `${row.run_id}/${row.step_id} ${row.number}`),
  );
  const journal = journalLines(agent);

  expect(steps.filter((row) => row.step_id === "again")).toHaveLength(MATCHES);
  for (const step of steps.filter((row) => row.step_id === "again")) {
    const key = `${step.run_id}/again`;
    const lines = journal.filter((line) => line.key === key);
    expect(step.state).toBe("succeeded");
    expect(lines.length).toBeGreaterThanOrEqual(1);
    // Each line but the last belongs to an attempt that was cut off.
    for (const line of lines.slice(0, -1)) expect(interrupted.has(`${key} ${line.attempt}`)).toBe(true);
  }
  for (const step of steps.filter((row) => row.step_id === "once")) {
    const lines = journal.filter((line) => line.key === `${step.run_id}/once`);
    expect(lines.length).toBeLessThanOrEqual(1);
    expect(step.attempts).toBe(1);
    if (lines.length === 0) expect(step.state).toBe("uncertain");
    if (step.state !== "uncertain") expect(step.state).toBe("succeeded");
  }
  expect(journal.every((line) => steps.some((step) => `${step.run_id}/${step.step_id}` === line.key))).toBe(
    true,
  );
}
