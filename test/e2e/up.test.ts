/** `holdfast up` on the compiled executable, from a fresh folder to a reaction, and through kill -9 of each of its processes. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { appendFileSync, existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import {
  buildExecutable,
  type Holdfast,
  runHoldfast,
  startHoldfast,
  temporaryHome,
  until,
} from "./harness.ts";

const ID = "web-01";
const READY_WITHIN_MS = 5_000;

let executable: string;
let home: string;
let root: string;
let up: Holdfast;
let tookMs: number;
/** Every token that was ever there: none may show up anywhere. */
const secrets = new Set<string>();
/** All that was printed or answered. */
const seen: string[] = [];

beforeAll(async () => {
  executable = await buildExecutable();
  home = join(temporaryHome(), "fresh");
  root = join(home, `agent-${ID}`);
  await start();
}, 120_000);

afterAll(async () => {
  await up?.stop();
});

async function start(): Promise<void> {
  const before = performance.now();
  up = await startHoldfast(executable, ["up", "--home", home, "--port", "0", "--id", ID, "--json"]);
  tookMs = performance.now() - before;
  secrets.add(readFileSync(up.ready.hub.tokenFile, "utf8").trim());
}

/** Runs a command on this home and gives its output. */
async function holdfast(...args: string[]): Promise<string> {
  const { exitCode, stdout, stderr } = await runHoldfast(executable, [...args, "--home", home]);
  if (exitCode !== 0) throw new Error(`holdfast ${args.join(" ")}: ${exitCode}\n${stderr}`);
  return stdout;
}

const agentPid = async () => JSON.parse(await holdfast("agent", "status", "--json")).pid as number;
const hubPid = () => JSON.parse(readFileSync(join(home, "hub", "run.json"), "utf8")).pid as number;

interface Run {
  id: string;
  state: string;
  event: { source: string; id: string };
}

async function runs(): Promise<Run[]> {
  const headers = { authorization: `Bearer ${readFileSync(up.ready.hub.tokenFile, "utf8").trim()}` };
  const response = await fetch(`${up.ready.hub.api}/api/v1/runs?limit=100`, { headers }).catch(() => null);
  return response?.ok ? ((await response.json()) as { items: Run[] }).items : [];
}

const reactions = () => {
  const path = join(root, "reactions.log");
  return existsSync(path) ? readFileSync(path, "utf8").trim().split("\n") : [];
};

/** Appends a line, and waits for what it must lead to on the host and on the hub. */
async function expectReaction(line: string): Promise<void> {
  const before = (await runs()).length;
  appendFileSync(join(root, "sample.log"), `${line}\n`);
  await until(`a reaction to "${line}"`, () =>
    reactions().some((text) => text.endsWith(`reacted to: ${line}`)),
  );
  await until(`the run of "${line}" on the hub`, async () => {
    const now = await runs();
    return now.length === before + 1 && now.every((run) => run.state === "succeeded");
  });
}

/** All processes under this one, and those that name its home; they may have got another parent. */
function processes(pid: number): number[] {
  const parents = new Map<number, number>();
  const found = new Set<number>();
  for (const name of readdirSync("/proc").filter((entry) => /^\d+$/.test(entry))) {
    try {
      const stat = readFileSync(`/proc/${name}/stat`, "utf8");
      const [state, parent] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
      if (state === "Z") continue;
      parents.set(Number(name), Number(parent));
      if (readFileSync(`/proc/${name}/cmdline`, "utf8").includes(home)) found.add(Number(name));
    } catch {
      // It has ended since.
    }
  }
  for (let size = -1; size !== found.size;) {
    size = found.size;
    for (const [child, parent] of parents) if (parent === pid || found.has(parent)) found.add(child);
  }
  return [...found];
}

function isAlive(pid: number): boolean {
  try {
    return !/\) Z /.test(readFileSync(`/proc/${pid}/stat`, "utf8"));
  } catch {
    return false;
  }
}

async function get(url: string): Promise<{ status: number; text: string }> {
  const response = await fetch(url);
  const text = await response.text();
  seen.push(text);
  return { status: response.status, text };
}

/** The value of each sample of a Prometheus text; throws for a line that is none. */
function samples(text: string): Map<string, number> {
  const values = new Map<string, number>();
  for (const line of text.split("\n")) {
    if (line === "" || line.startsWith("# HELP ") || line.startsWith("# TYPE ")) continue;
    const match = /^([a-zA-Z_:][\w:]*(?:\{(?:\w+="(?:[^"\\]|\\.)*",?)*\})?) (\S+)$/.exec(line);
    const value = Number(match?.[2]?.replace("+Inf", "Infinity"));
    if (!match || Number.isNaN(value)) throw new Error(`not a sample: ${line}`);
    values.set(match[1]!, value);
  }
  return values;
}

test("a fresh home is ready within seconds, and says where everything is", () => {
  console.log(`holdfast up was ready on a fresh home after ${Math.round(tookMs)} ms`);
  expect(tookMs).toBeLessThan(READY_WITHIN_MS);
  expect(up.ready).toEqual({
    ready: true,
    hub: {
      api: expect.stringMatching(/^http:\/\/127\.0\.0\.1:\d+$/),
      grpc: expect.stringMatching(/^grpcs:\/\/127\.0\.0\.1:\d+$/),
      tokenFile: join(home, "hub", "admin.token"),
    },
    agent: { id: ID, health: expect.stringMatching(/^http:\/\/127\.0\.0\.1:\d+$/), home: root },
  });
  expect(statSync(up.ready.hub.tokenFile).mode & 0o777).toBe(0o600);
});

test("a line with ERROR is reacted to, and one without is not", async () => {
  appendFileSync(join(root, "sample.log"), "all is well\n");
  await expectReaction("ERROR the first");
  expect(reactions()).toHaveLength(1);
});

test("health and metrics of both tell that it happened", async () => {
  const hubHealth = JSON.parse(readFileSync(join(home, "hub", "run.json"), "utf8")).health as string;
  await until("the agent to be online", async () =>
    (await get(`${up.ready.agent.health}/healthz`)).text.includes('"sync":"online"'),
  );
  for (const url of [up.ready.agent.health as string, hubHealth]) {
    const ready = await get(`${url}/readyz?verbose`);
    expect([ready.status, ready.text]).toEqual([200, expect.stringMatching(/^(\[\+\]\w+ ok.*\n)+ready\n$/)]);
    const health = await get(`${url}/healthz`);
    expect([health.status, JSON.parse(health.text).status]).toEqual([200, "ok"]);
  }
  const agent = samples((await get(`${up.ready.agent.health}/metrics`)).text);
  expect(agent.get("holdfast_agent_events_total")).toBeGreaterThanOrEqual(2);
  expect(agent.get('holdfast_agent_rule_evaluations_total{rule="react to an error",outcome="matched"}')).toBe(
    1,
  );
  expect(agent.get("holdfast_agent_runs_started_total")).toBe(1);
  expect(agent.get('holdfast_agent_runs_ended_total{state="succeeded"}')).toBe(1);
  const hub = samples((await get(`${hubHealth}/metrics`)).text);
  expect([...hub].filter(([name, value]) => /rows|records/.test(name) && value > 0)).not.toBeEmpty();
});

test("a second one on the same home is refused, and names the first", async () => {
  const second = await runHoldfast(executable, ["up", "--home", home, "--port", "0", "--id", ID, "--json"]);
  expect(second.exitCode).toBe(1);
  expect(second.stdout).toBe("");
  expect(second.stderr).toMatch(new RegExp(`^holdfast: .*already running: pid ${up.pid} .*\\n$`));
  await expectReaction("ERROR after a second start");
});

test("an agent that is killed comes back and goes on", async () => {
  const killed = await agentPid();
  process.kill(killed, "SIGKILL");
  // Written while there is nobody to see it.
  await expectReaction("ERROR while the agent was away");
  expect(await agentPid()).not.toBe(killed);
  expect((await get(`${up.ready.agent.health}/readyz`)).status).toBe(200);
}, 30_000);

test("a hub that is killed comes back where the agent and the operator know it", async () => {
  const killed = hubPid();
  const listed = (await runs()).length;
  process.kill(killed, "SIGKILL");
  await until("the hub to be back", async () => (await runs()).length === listed);
  expect(hubPid()).not.toBe(killed);
  await expectReaction("ERROR after the hub died");
  expect(up.stderr()).toContain("the hub died (SIGKILL)");
}, 60_000);

test("Ctrl-C ends all of it with 0, and the next start goes on", async () => {
  const before = (await runs()).map((run) => run.id);
  const all = processes(up.pid);
  expect(all.length).toBeGreaterThanOrEqual(4);
  process.kill(up.pid, "SIGINT");
  expect(await up.exited).toBe(0);
  expect(all.filter(isAlive)).toEqual([]);
  expect(processes(up.pid)).toEqual([]);
  seen.push(up.stdout(), up.stderr());

  await start();
  expect((await runs()).map((run) => run.id)).toEqual(before);
  await expectReaction("ERROR after a restart");
}, 60_000);

test("kill -9 of up itself leaves no process behind, and the next start goes on", async () => {
  const all = processes(up.pid);
  await up.kill();
  await until(`${all.length} processes to be gone`, () => all.filter(isAlive).length === 0);
  expect(processes(up.pid)).toEqual([]);
  seen.push(up.stdout(), up.stderr());

  await start();
  await expectReaction("ERROR after up was killed");
  expect(reactions()).toHaveLength((await runs()).length);
}, 60_000);

test("no token is in a log file, in an answer or in what was printed", async () => {
  const made = JSON.parse(await holdfast("token", "create", "--json")) as { token: string };
  secrets.add(made.token);
  seen.push(up.stdout(), up.stderr(), await holdfast("agent", "status", "--json"));
  const logs = [...new Bun.Glob("**/*.log").scanSync({ cwd: home })];
  for (const log of logs) seen.push(readFileSync(join(home, log), "utf8"));
  expect(logs.some((log) => log.endsWith("hub.log")) && logs.some((log) => log.endsWith("agent.log"))).toBe(
    true,
  );
  for (const text of seen) {
    for (const secret of secrets) expect(text.includes(secret)).toBe(false);
    expect(text).not.toMatch(/hf(join|adm)\w*_[\w-]{20,}/);
  }
});
