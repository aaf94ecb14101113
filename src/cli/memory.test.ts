import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { chmodSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type CliAgent, cliAgent } from "../testing/cli-agent.ts";

setDefaultTimeout(90_000);

const CONFIG = `
triggers:
  - { name: ticking, plugin: ticker }
rules:
  - { name: armed, on: manual, type: web, namespace: web, when: memory.armed == true, run: count }
  - { name: default, on: manual, type: plain, when: "has(memory.armed)", run: count }
pipelines:
  count:
    namespace: web
    steps: [{ id: add, action: counter, with: { by: 1 } }]
  tell:
    namespace: web
    steps: [{ id: say, action: counter, with: { by: 0, note: "count is \${{ memory.count }}" } }]
  elsewhere: { steps: [{ id: add, action: counter, with: { by: 1 } }] }
  other: { namespace: web, steps: [{ id: look, action: counter, with: { by: 0, from: secret-place } }] }
  script: { namespace: web, steps: [{ id: add, action: sh-counter }] }
`;
const COUNTER = `import { defineAction, v } from "holdfast";
export default defineAction({
  name: "counter", description: "counts in the memory",
  settings: v.strictObject({ by: v.number(), note: v.optional(v.string()), from: v.optional(v.string()) }),
  permissions: { memory: ["count", "note"] },
  async run({ settings: { by, note, from }, memory }) {
    if (from) return await memory.get("count", { namespace: from });
    if (note) await memory.set("note", note);
    return await memory.update("count", (count = 0) => count + by);
  },
});`;
const TICKER = `import { defineTrigger, v } from "holdfast";
export default defineTrigger({
  name: "ticker", description: "remembers its starts", settings: v.strictObject({}), permissions: { memory: ["*"] },
  async *run({ memory, clock, signal }) {
    await memory.update("starts", (starts = 0) => starts + 1);
    for await (const _ of clock.every(1000, signal));
  },
});`;
const SCRIPT = `#!/bin/sh
set -e
taken=$(holdfast call memory checkout count)
token=$(echo "$taken" | sed 's/.*"token":\\([0-9]*\\).*/\\1/')
value=$(echo "$taken" | sed 's/.*"value":\\([0-9]*\\).*/\\1/')
holdfast call memory update count "$token" $((value + 100))
holdfast call memory get count
holdfast call memory get other || true
`;

let agent: CliAgent;
beforeAll(async () => {
  agent = await cliAgent(CONFIG);
  const plugins = join(agent.base, `agent-${agent.id}`, "data", "plugins");
  for (const [name, text] of Object.entries({ counter: COUNTER, ticker: TICKER })) {
    mkdirSync(join(plugins, name), { recursive: true });
    writeFileSync(join(plugins, name, "plugin.ts"), text);
  }
  const folder = join(plugins, "sh-counter");
  mkdirSync(folder);
  writeFileSync(join(folder, "count.sh"), SCRIPT);
  chmodSync(join(folder, "count.sh"), 0o755);
  writeFileSync(
    join(folder, "plugin.yaml"),
    "name: sh-counter\nkind: action\nruntime: exec\ndescription: counts\nentry: count.sh\npermissions: { read: ['@system'], exec: ['@system'], memory: [count] }\n",
  );
  await agent.stop();
  await agent.start();
});
afterAll(() => agent.close());

const memory = async (...args: string[]) => await agent.cli(["memory", ...args]);
const value = async (key: string, namespace = "web") =>
  JSON.parse((await memory("get", key, "--namespace", namespace)).out || "null") as unknown;
const run = async (pipeline: string) => {
  const { exit, out, err } = await agent.cli(["run", pipeline]);
  expect(exit, `${out}${err}`).toBe(0);
};

/** Asks again until the answer is the one that is waited for. */
async function until(what: string, asked: () => Promise<boolean>, timeoutMs = 30_000): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  while (!(await asked())) if (performance.now() > deadline) throw new Error(`waited in vain for ${what}`);
}

test("increments of runs at the same time are all counted, in the namespace of their pipeline", async () => {
  await Promise.all(Array.from({ length: 4 }, () => run("count")));
  expect(await value("count")).toBe(4);
  await run("elsewhere");
  expect(await value("count", "default")).toBe(1);
  expect((await memory("get", "count", "--namespace", "counter")).exit).toBe(3);
});

test("steps see the committed value; another namespace only where it was granted", async () => {
  const before = await value("count");
  await run("tell");
  expect(await value("note")).toBe(`count is ${before}`);
  const { exit, out } = await agent.cli(["run", "other"]);
  expect(exit).toBe(4);
  expect(out).toContain("denied: namespace secret-place for plugin counter, which has web");
});

test("a trigger has a namespace of its own, and what it remembers survives a restart", async () => {
  await until("the start to be noted", async () => (await value("starts", "ticker")) !== null);
  const starts = (await value("starts", "ticker")) as number;
  await agent.stop("SIGKILL");
  await agent.start();
  await until("another start", async () => ((await value("starts", "ticker")) as number) > starts);
});

test("rules see the memory of their namespace", async () => {
  const counted = async () => (await value("count")) as number;
  const before = await counted();
  await agent.cli(["events", "emit", "web"]);
  await memory("set", "armed", "true", "--namespace", "web");
  await agent.cli(["events", "emit", "web"]);
  await until("the rule", async () => (await counted()) > before);
  // Of the two events one came before it was armed; that of the other rule sees another namespace.
  await agent.cli(["events", "emit", "plain"]);
  await memory("set", "armed", "1");
  await agent.cli(["events", "emit", "plain"]);
  await until("the other rule", async () => (await counted()) > before + 1);
  expect(await counted()).toBe(before + 2);
});

test("people get, set, list and remove", async () => {
  expect(await memory("set", "a.b:c", '{"n": [1, null]}', "--namespace", "people")).toMatchObject({
    exit: 0,
    out: "a.b:c of namespace people is set.\n",
  });
  await memory("set", "text", "5", "--text", "--namespace", "people");
  await memory("set", "gone", "x", "--ttl", "50ms", "--namespace", "people");
  expect((await memory("get", "a.b:c", "--namespace", "people")).out).toBe('{"n":[1,null]}\n');
  expect((await memory("get", "text", "--namespace", "people")).out).toBe('"5"\n');
  const shown = JSON.parse((await memory("get", "text", "--namespace", "people", "--json")).out);
  expect(shown).toMatchObject({ namespace: "people", key: "text", value: "5", expiresAt: null });
  await until("its end", async () => (await memory("get", "gone", "--namespace", "people")).exit === 3);
  const listed = (await memory("list", "--namespace", "people")).out;
  expect(listed).toMatch(/^NAMESPACE +KEY +SIZE +CHANGED +EXPIRES\npeople +a\.b:c .*\npeople +text .*\n$/);
  const items = JSON.parse(
    (await memory("list", "--namespace", "people", "--prefix", "t", "--json")).out,
  ).items;
  expect(items).toMatchObject([{ namespace: "people", key: "text", bytes: 3 }]);
  expect((await memory("remove", "text", "--namespace", "people")).exit).toBe(0);
  expect(await memory("remove", "text", "--namespace", "people")).toMatchObject({
    exit: 3,
    err: "holdfast: there is no text in the memory of namespace people: see holdfast memory list\n",
  });
});

test("what is wrong is told", async () => {
  expect(await memory("set", "a b", "1")).toMatchObject({ exit: 1 });
  expect((await memory("set", "a b", "1")).err).toContain("a key of the memory has 1 to 256 letters");
  expect(await memory("set", "a", "1", "--namespace", "holdfast")).toMatchObject({ exit: 2 });
  expect((await memory("set", "a", "1", "--ttl", "soon")).err).toContain("--ttl must be a duration");
  expect((await memory("set", "a", "x".repeat(120_000).repeat(1))).exit).toBe(0);
});

test("a script counts with holdfast call", async () => {
  const before = (await value("count")) as number;
  await run("script");
  expect(await value("count")).toBe(before + 100);
});
