/**
 * The compiled executable with gRPC cut off: the agent goes to the broker in the hub and back, twice, while lines are written,
 * actions run, and the hub is killed once. Each line is one event on the hub, each action ran once.
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { appendFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type ByteProxy, startByteProxy } from "../../src/testing/byte-proxy.ts";
import {
  buildExecutable,
  freePort,
  type Holdfast,
  runHoldfast,
  startHoldfast,
  temporaryHome,
  until,
} from "./harness.ts";

const ID = "web-01";
const EVERY = 10;

let executable: string;
let base: string;
let home: string;
let api: string;
let token: string;
let grpcPort: number;
let hubArgs: string[];
let hub: Holdfast;
let agent: Holdfast;
let proxy: ByteProxy;
let written = 0;

beforeAll(async () => {
  executable = await buildExecutable();
  base = temporaryHome();
  const ports = await Promise.all([freePort(), freePort(), freePort(), freePort()]);
  grpcPort = ports[0]!;
  api = `http://127.0.0.1:${ports[1]}`;
  const hubHome = join(base, "hub-home");
  const tokenFile = join(base, "admin.token");
  const listen = ["--listen", "--api", "--health"].flatMap((flag, n) => [flag, `127.0.0.1:${ports[n]}`]);
  const made = await run(
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
  );
  const { pin, join: joining } = JSON.parse(made) as { pin: string; join: { token: string } };
  token = readFileSync(tokenFile, "utf8").trim();
  appendFileSync(join(hubHome, "hub/config/hub.yaml"), `mqtt: { listen: 127.0.0.1:${ports[3]} }\n`);
  hubArgs = ["hub", "run", "--home", hubHome, "--json"];
  hub = await startHoldfast(executable, hubArgs);
  expect(hub.ready.mqtt).toBe(`mqtts://127.0.0.1:${ports[3]}`);
  proxy = await startByteProxy({ target: grpcPort });
  home = join(base, ID);
  const url = `grpcs://127.0.0.1:${proxy.port}`;
  await run(
    "agent",
    "enroll",
    "--home",
    home,
    "--id",
    ID,
    "--hub",
    url,
    "--token",
    joining.token,
    "--ca-pin",
    pin,
  );
  const root = join(home, `agent-${ID}`);
  writeFileSync(join(root, "app.log"), "");
  mkdirSync(join(root, "config/conf.d"), { recursive: true });
  writeFileSync(
    join(root, "config/conf.d/test.yaml"),
    [
      `hub: { mqtt: "mqtts://127.0.0.1:${ports[3]}", failover_after: 1s }`,
      "triggers:",
      "  - { name: app, plugin: file-tail, with: { path: app.log, from: start } }",
      "rules:",
      "  - { name: errors, on: app, when: 'event.data.line.contains(\"ERROR\")', run: react }",
      "pipelines:",
      "  react: { steps: [{ id: note, action: exec, with: { command: [/bin/true] }, effect: at-most-once }] }",
      "",
    ].join("\n"),
  );
  agent = await startHoldfast(executable, ["agent", "run", "--home", home, "--id", ID, "--json"], {
    HOLDFAST__HEALTH__LISTEN: "127.0.0.1:0",
  });
}, 240_000);

afterAll(async () => {
  await Promise.all([hub, agent].map((each) => each?.kill()));
  await proxy?.stop();
});

async function run(...args: string[]): Promise<string> {
  const { exitCode, stdout, stderr } = await runHoldfast(executable, args);
  if (exitCode !== 0) throw new Error(`${args.slice(0, 2).join(" ")} ended with ${exitCode}: ${stderr}`);
  return stdout;
}

async function get<T>(path: string): Promise<T> {
  const response = await fetch(`${api}/api/v1/${path}`, { headers: { authorization: `Bearer ${token}` } });
  if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
  return (await response.json()) as T;
}

async function all<T>(path: string): Promise<T[]> {
  const items: T[] = [];
  for (let next: string | null = ""; next !== null;) {
    const cursor = next === "" ? "" : `&cursor=${encodeURIComponent(next)}`;
    const page: { items: T[]; next: string | null } = await get(`${path}&limit=1000${cursor}`);
    items.push(...page.items);
    next = page.next ?? null;
  }
  return items;
}

function writeLines(count: number): void {
  let text = "";
  for (let n = 0; n < count; n++, written++) {
    text += `${written} ${written % EVERY === 0 ? "ERROR something broke" : "all is well"}\n`;
  }
  appendFileSync(join(home, `agent-${ID}`, "app.log"), text);
}

const carriedBy = async (transport: string) => {
  const { sync } = JSON.parse(await run("agent", "status", "--home", home, "--id", ID, "--json")) as {
    sync: { state: string; transport: string | null };
  };
  return sync.state === "online" && sync.transport === transport;
};
const hubHas = async () => (await all(`events?agent=${ID}`)).length;

function cutGrpc(): void {
  proxy.target(1);
  proxy.cut();
}

test("to the broker and back, with the hub killed in between: nothing lost, nothing twice", async () => {
  writeLines(200);
  await until("gRPC", () => carriedBy("grpc"));
  cutGrpc();
  writeLines(300);
  await until("the broker", () => carriedBy("mqtt"));
  writeLines(300);
  await until("rows through the broker", async () => (await hubHas()) >= 800);
  const { transport, connectedAt } = await get<{ transport: string; connectedAt: string }>(`agents/${ID}`);
  expect(transport).toBe("mqtt");
  expect(Date.now() - Date.parse(connectedAt)).toBeLessThan(120_000);
  const status = await run("agent", "status", "--home", home, "--id", ID);
  expect(status).toMatch(/sync: online over mqtt since .*, \d+ rows behind/);
  const metrics = await (await fetch(`${agent.ready.health}/metrics`)).text();
  expect(metrics).toContain('holdfast_agent_sync_transport{transport="mqtt"} 1');

  writeLines(300);
  await hub.kill();
  writeLines(100);
  hub = await startHoldfast(executable, hubArgs);
  await until("the broker after a kill", () => carriedBy("mqtt"), 60_000);
  writeLines(100);
  await until("rows through the broker again", async () => (await hubHas()) >= written, 60_000);

  proxy.target(grpcPort);
  writeLines(200);
  await until("gRPC again", () => carriedBy("grpc"), 60_000);
  writeLines(200);
  await until("every line", async () => (await hubHas()) >= written, 60_000);
  await until(
    "every run",
    async () => {
      const runs = await all<{ state: string }>(`runs?agent=${ID}`);
      return runs.length >= written / EVERY && runs.every(({ state }) => state === "succeeded");
    },
    60_000,
  );

  const events = await all<{ event: { data: { line: string } } }>(`events?agent=${ID}`);
  const numbers = events.map((row) => Number(row.event.data.line.split(" ")[0])).sort((a, b) => a - b);
  expect(numbers).toEqual(Array.from({ length: written }, (_, n) => n));
  expect(await all(`runs?agent=${ID}`)).toHaveLength(written / EVERY);
  const { streams } = await get<{ streams: { epoch: string; forked: number }[] }>(`agents/${ID}`);
  expect(new Set(streams.map(({ epoch }) => epoch)).size).toBe(1);
  expect(streams.every(({ forked }) => forked === 0)).toBe(true);
}, 240_000);
