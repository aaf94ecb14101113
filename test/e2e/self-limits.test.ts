/** The agent's limits on itself and its workers: a warning first, then what it gives up, told in status, health and metrics. */
import { beforeAll, expect, test } from "bun:test";
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { buildExecutable, runHoldfast, startHoldfast, temporaryHome, until } from "./harness.ts";

const ID = "web-01";
const MB = 1024 ** 2;
const LIMIT_MB = 400;
let executable: string;

beforeAll(async () => {
  executable = await buildExecutable();
}, 240_000);

/** Holds as many megabytes as a file says, once that is another number than at its start. */
const HOG = `import { readFileSync } from "node:fs";
import { defineTrigger, v } from "holdfast";
export default defineTrigger({
  name: "hog",
  description: "Takes memory as it is told",
  settings: v.strictObject({ file: v.string() }),
  permissions: { read: ["\${settings.file}"] },
  resources: { memory: "900MB" },
  async *run({ settings, clock, signal }) {
    const kept = [];
    const wanted = () => readFileSync(settings.file, "utf8");
    const first = wanted();
    for await (const _ of clock.every(50, signal)) {
      const text = wanted();
      while (text !== first && kept.length < Number(text)) kept.push(Buffer.alloc(1024 * 1024, 1));
    }
  },
});
`;

interface Use {
  used: number;
  limit: number;
  level: string;
  reaction?: string;
}

test("memory: warned at four fifths, then idle workers stop and the largest trigger is started again", async () => {
  const base = temporaryHome();
  const root = join(base, `agent-${ID}`);
  const file = join(base, "megabytes");
  mkdirSync(join(root, "data", "plugins"), { recursive: true });
  mkdirSync(join(root, "config", "conf.d"), { recursive: true });
  writeFileSync(join(root, "data", "plugins", "hog.ts"), HOG);
  writeFileSync(file, "0");
  writeFileSync(
    join(root, "config", "conf.d", "test.yaml"),
    `limits: { memory: ${LIMIT_MB}MB, interval: 1s, worker_idle: 1h }
triggers:
  - { name: hog, plugin: hog, with: { file: ${file} } }
  - { name: once, plugin: interval, with: { every: 50ms, count: 1 } }
rules:
  - { name: note, on: once, run: note }
pipelines:
  note: { steps: [{ id: note, action: file, with: { path: ${join(root, "note.txt")}, do: append, content: "x" }, timeout: 20s }] }
`,
  );
  const agent = await startHoldfast(executable, [
    ...["agent", "run", "--home", base, "--id", ID, "--health-listen", "127.0.0.1:0", "--json"],
  ]);
  const text = async (path: string) => await (await fetch(`${agent.ready.health}${path}`)).text();
  const status = async () =>
    JSON.parse(
      (await runHoldfast(executable, ["agent", "status", "--home", base, "--id", ID, "--json"])).stdout,
    ) as {
      resources: { memory: Use };
      parts: { name: string; kind: string; state: string; restarts: number; reason?: string }[];
    };
  const part = async (name: string) => (await status()).parts.find((item) => item.name === name);
  const metric = async (name: string) =>
    Number(new RegExp(`^${name} (\\S+)$`, "m").exec(await text("/metrics"))?.[1]);

  await until("both triggers and the action run", async () =>
    [await part("hog"), await part("file")].every((item) => item?.state === "running"),
  );
  const { memory: quiet } = (await status()).resources;
  console.info(`  without the hog's part: ${Math.round(quiet.used / MB)} MB`);
  expect(quiet).toMatchObject({ limit: LIMIT_MB * MB, level: "ok" });
  expect(quiet.used).toBeLessThan(LIMIT_MB * 0.7 * MB);

  // The last look may have been before all of them had started: there is room for that below the limit.
  writeFileSync(file, String(Math.round(LIMIT_MB * 0.85 - quiet.used / MB)));
  await until("the warning", async () => (await status()).resources.memory.level === "warning");
  expect(await text("/readyz?verbose")).toMatch(
    /^\[~\]resources degraded: memory: \d+ MB used, 400 MB allowed$/m,
  );
  expect(await metric('holdfast_agent_resource_warnings_total\\{resource="memory"\\}')).toBe(1);
  expect(await metric('holdfast_agent_resource_overruns_total\\{resource="memory"\\}')).toBe(0);
  expect((await part("file"))?.state).toBe("running");
  expect((await part("hog"))?.restarts).toBe(0);
  const told = await runHoldfast(executable, ["agent", "status", "--home", base, "--id", ID]);
  expect(told.exitCode).toBe(0);
  expect(told.stdout).toMatch(/^memory: \d+ MB used, 400 MB allowed$/m);

  writeFileSync(file, String(Math.round(LIMIT_MB * 1.25 - quiet.used / MB)));
  await until("the trigger is started again", async () => {
    const hog = await part("hog");
    return hog?.state === "running" && hog.restarts === 1;
  });
  expect((await part("hog"))?.reason).toContain("the agent passed limits.memory");
  expect((await part("file"))?.state).toBe("stopped");
  await until("there is room again", async () => (await status()).resources.memory.level === "ok");
  expect(await metric('holdfast_agent_resource_overruns_total\\{resource="memory"\\}')).toBe(1);
  expect(await metric('holdfast_agent_resource_reactions_total\\{reaction="stop_idle_workers"\\}')).toBe(1);
  expect(await metric('holdfast_agent_resource_reactions_total\\{reaction="restart_trigger"\\}')).toBe(1);
  expect(await text("/readyz?verbose")).toContain("[+]resources ok");
  const log = readFileSync(join(root, "logs", "agent.log"), "utf8");
  const places = [
    "close to limits.memory",
    "limits.memory is passed",
    "trigger hog is started again",
    "within limits.memory again",
  ];
  const found = places.map((words) => log.indexOf(words));
  expect(found).toEqual([...found].sort((a, b) => a - b));
  expect(found[0]).toBeGreaterThan(0);
  expect(await agent.stop()).toBe(0);
}, 120_000);

test("disk: rotated logs go first; triggers pause until there is room, and lose nothing", async () => {
  const base = temporaryHome();
  const root = join(base, `agent-${ID}`);
  const rotated = join(root, "logs", "agent.log.3");
  const stays = join(root, "logs", "plugins", "other.log");
  mkdirSync(join(root, "logs", "plugins"), { recursive: true });
  mkdirSync(join(root, "config", "conf.d"), { recursive: true });
  writeFileSync(rotated, Buffer.alloc(30 * MB));
  writeFileSync(
    join(root, "config", "conf.d", "test.yaml"),
    `limits: { disk: 20MB, interval: 1s }
triggers: [{ name: ticks, plugin: interval, with: { every: 50ms } }]
`,
  );
  const agent = await startHoldfast(executable, [
    ...["agent", "run", "--home", base, "--id", ID, "--health-listen", "127.0.0.1:0", "--json"],
  ]);
  const text = async (path: string) => await (await fetch(`${agent.ready.health}${path}`)).text();
  const metric = async (name: string) =>
    Number(new RegExp(`^${name} (\\S+)$`, "m").exec(await text("/metrics"))?.[1]);
  const events = () => metric("holdfast_agent_events_total");
  const reactions = (name: string) =>
    metric(`holdfast_agent_resource_reactions_total\\{reaction="${name}"\\}`);

  await until("the rotated log is gone", () => !existsSync(rotated));
  expect(await reactions("trim_logs")).toBe(1);
  await until("events", async () => (await events()) > 3);
  writeFileSync(stays, Buffer.alloc(30 * MB));
  await until("triggers are paused", async () => (await reactions("hold_triggers")) === 1);
  expect(await text("/readyz?verbose")).toMatch(
    /^\[~\]resources degraded: disk: \d+ MB used, 20 MB allowed; triggers are paused/m,
  );
  await until("a batch waits", async () => (await metric("holdfast_agent_resource_waiting_batches")) > 0);
  // What waits is not recorded, however long it takes.
  const held = await events();
  await Bun.sleep(300);
  expect(await events()).toBe(held);
  rmSync(stays);
  await until("it goes on", async () => (await events()) > held);
  expect(await text("/readyz?verbose")).toContain("[+]resources ok");
  expect(await agent.stop()).toBe(0);
}, 120_000);
