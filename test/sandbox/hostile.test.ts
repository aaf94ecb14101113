/** A whole agent of the executable: hostile plugins beside an honest trigger that ticks each second. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { buildExecutable, type Holdfast, startHoldfast, temporaryHome, until } from "../e2e/harness.ts";
import { HOSTILE } from "./hostile-plugins.ts";

const MB = 1024 ** 2;
const WATCHED_MS = 20_000;
/** Between two ticks when one was missed, and a little for a busy machine. */
const LONGEST_GAP_MS = 2_200;
const MOST_MEMORY_MORE = 10 * MB;

let agent: Holdfast;
let root: string;
let foreign: string;
const reached: string[] = [];
const server = Bun.serve({
  hostname: "127.0.0.1",
  port: 0,
  fetch(request) {
    reached.push(new URL(request.url).pathname);
    return new Response("reached");
  },
});

beforeAll(async () => {
  const executable = await buildExecutable();
  const home = temporaryHome();
  root = join(home, "agent-victim");
  foreign = join(home, "agent-other", "config", "agent.yaml");
  mkdirSync(join(root, "config", "conf.d"), { recursive: true });
  mkdirSync(join(root, "data", "plugins"), { recursive: true });
  mkdirSync(join(home, "agent-other", "config"), { recursive: true });
  writeFileSync(foreign, "agent: { id: other }\n");
  for (const { name, source } of HOSTILE) writeFileSync(join(root, "data", "plugins", `${name}.ts`), source);
  writeFileSync(join(root, "config", "agent.yaml"), "agent: { id: victim }\n");
  writeFileSync(join(root, "config", "conf.d", "test.yaml"), configuration());
  agent = await startHoldfast(executable, ["agent", "run", "--home", home, "--id", "victim", "--json"], {
    HOLDFAST__HEALTH__LISTEN: "127.0.0.1:0",
  });
}, 240_000);

afterAll(async () => {
  await agent?.kill();
  await server.stop(true);
});

function configuration(): string {
  const settings = JSON.stringify({ foreign, port: server.port });
  return [
    "triggers:",
    "  - { name: honest, plugin: interval, with: { every: 1s } }",
    ...HOSTILE.map(({ name }) => `  - { name: ${name}, plugin: ${name}, with: ${settings} }`),
    "outputs:",
    "  - { name: ticks, plugin: file, with: { path: archive/ticks.jsonl } }",
    "",
  ].join("\n");
}

interface Tick {
  type: string;
  time: string;
  data: unknown;
}

function events(): Tick[] {
  const path = join(root, "archive", "ticks.jsonl");
  if (!existsSync(path)) return [];
  const lines = readFileSync(path, "utf8").split("\n").slice(0, -1);
  return lines.map((line) => JSON.parse(line) as Tick);
}

const ticks = () => events().filter((event) => event.type === "interval.tick");

function residentBytes(): number {
  const status = readFileSync(`/proc/${agent.pid}/status`, "utf8");
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)![1]) * 1024;
}

async function readiness(): Promise<{ status: number; text: string }> {
  const response = await fetch(`${agent.ready.health}/readyz?verbose`);
  return { status: response.status, text: await response.text() };
}

test("an honest trigger beside hostile ones misses no more than one tick, and the agent stays ready", async () => {
  await until("the first tick", () => ticks().length > 0);
  const before = residentBytes();
  const since = performance.now();
  while (performance.now() - since < WATCHED_MS) {
    expect(await readiness()).toMatchObject({ status: 200 });
    await Bun.sleep(250);
  }
  await until("the last tick is written", () => ticks().length >= WATCHED_MS / 1000 - 1);
  const times = ticks().map((tick) => Date.parse(tick.time));
  const gaps = times.slice(1).map((time, at) => time - times[at]!);
  expect(Math.max(...gaps)).toBeLessThan(LONGEST_GAP_MS);

  const gone = async () => {
    const { text } = await readiness();
    return HOSTILE.every(({ name }) => text.includes(`trigger ${name} is quarantined`));
  };
  await until("the hostile plugins to be in quarantine", gone, 90_000).catch(async (error: Error) => {
    throw new Error(`${error.message}; the agent says\n${(await readiness()).text}`);
  });
  const { status, text } = await readiness();
  expect(status).toBe(200);
  for (const { name, named } of HOSTILE) {
    const reason = text.slice(text.indexOf(`trigger ${name} is quarantined`)).split("; trigger")[0]!;
    expect(`${name}: ${reason}`).toMatch(named);
  }
  expect(events().filter((event) => event.type === "escaped")).toEqual([]);
  expect(reached).toEqual([]);
  const back = () => residentBytes() <= before + MOST_MEMORY_MORE;
  await until(
    `the agent is back at ${Math.round(before / MB)} MB (now ${Math.round(residentBytes() / MB)})`,
    back,
    30_000,
  );
}, 180_000);
