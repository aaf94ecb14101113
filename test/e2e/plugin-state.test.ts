/** What plugins keep for themselves, through kill -9 of the agent. */
import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { chmodSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type CliAgent, cliAgent } from "../../src/testing/cli-agent.ts";

setDefaultTimeout(120_000);

/** Saves with each round; each tenth is forced, and only then told. */
const PLUGIN = `import { defineTrigger, v } from "holdfast";
export default defineTrigger({
  name: "counting", description: "counts its rounds",
  settings: v.strictObject({ from: v.number() }),
  async *run({ settings, state, clock, signal }) {
    const restored = await state.load();
    let n = restored ?? settings.from;
    yield { type: "restored", data: { from: settings.from, n: restored ?? null } };
    for await (const _ of clock.every(5, signal)) {
      n++;
      await state.save(n, { every: 3_600_000, force: n % 10 === 0 });
      if (n % 10 === 0) yield { type: "forced", data: { from: settings.from, n } };
    }
  },
});`;
const SCRIPT = `#!/bin/sh
loaded=$(holdfast call state load)
n=$(echo "$loaded" | sed -n 's/.*"value":\\([0-9]*\\).*/\\1/p')
holdfast call state save $((\${n:-0} + 1)) --every 1h --force
printf '{"loaded":%s}' "$loaded"
`;
const MANIFEST = `name: sh-counting
kind: action
runtime: exec
description: counts its calls
entry: count.sh
state: true
permissions: { read: ['@system'], exec: ['@system'] }
`;
const CONFIG = `pipelines: { count: { steps: [{ id: a, action: sh-counting }] } }
triggers:
  - { name: one, plugin: counting, with: { from: 0 } }
  - { name: two, plugin: counting, with: { from: 1000000 } }
`;

let agent: CliAgent;
beforeAll(async () => {
  agent = await cliAgent("{}\n");
  await agent.stop();
  const root = join(agent.base, `agent-${agent.id}`);
  mkdirSync(join(root, "data/plugins/counting"), { recursive: true });
  writeFileSync(join(root, "data/plugins/counting/plugin.ts"), PLUGIN);
  const folder = join(root, "data/plugins/sh-counting");
  mkdirSync(folder);
  writeFileSync(join(folder, "plugin.yaml"), MANIFEST);
  writeFileSync(join(folder, "count.sh"), SCRIPT);
  chmodSync(join(folder, "count.sh"), 0o755);
  writeFileSync(join(root, "config/conf.d/test.yaml"), CONFIG);
  await agent.start();
});
afterAll(() => agent.close());

interface Told {
  from: number;
  n: number | null;
}

/** Newest first. */
async function told(type: string, from: number): Promise<(number | null)[]> {
  const { out } = await agent.cli(["events", "list", "--type", type, "--json", "--limit", "500"]);
  const { items } = JSON.parse(out) as { items: { event: { data: Told } }[] };
  return items
    .map(({ event }) => event.data)
    .filter((data) => data.from === from)
    .map(({ n }) => n);
}

async function untilTold(type: string, from: number, count: number): Promise<(number | null)[]> {
  for (let left = 400; left > 0; left--) {
    const all = await told(type, from);
    if (all.length >= count) return all;
    await Bun.sleep(50);
  }
  throw new Error(
    `${type} of ${from} was not told ${count} times: ${(await agent.cli(["agent", "status"])).out}`,
  );
}

test("what was forced is there after a crash, of each trigger its own; what was not is at most a write older", async () => {
  const starts = [0, 1_000_000];
  expect(await untilTold("restored", 0, 1)).toEqual([null]);
  for (let crash = 1; crash <= 3; crash++) {
    const forced: number[] = [];
    for (const from of starts) forced.push((await untilTold("forced", from, crash * 3))[0]!);
    await agent.stop("SIGKILL");
    await agent.start();
    for (const [index, from] of starts.entries()) {
      const [restored] = await untilTold("restored", from, crash + 1);
      expect(restored! % 10).toBe(restored === from + 1 ? 1 : 0);
      expect(restored!).toBeGreaterThanOrEqual(forced[index]!);
      expect(restored!).toBeLessThan(from + 1_000_000);
    }
  }
});

test("an agent that ends in order loses nothing of it", async () => {
  const before = (await untilTold("restored", 0, 4)).length;
  const [forced] = await untilTold("forced", 0, 1);
  await agent.stop();
  await agent.start();
  const [restored] = await untilTold("restored", 0, before + 1);
  expect(restored!).toBeGreaterThanOrEqual(forced!);
  const page = await agent.cli(["memory", "list", "--json"]);
  const { items } = JSON.parse(page.out) as { items: { namespace: string; key: string }[] };
  expect(items.map(({ namespace, key }) => `${namespace} ${key}`)).toEqual([
    "holdfast/trigger/one state",
    "holdfast/trigger/two state",
  ]);
});

test("a script has one too", async () => {
  const loaded = async () => {
    const { out } = await agent.cli(["run", "count", "--json"]);
    const { id } = JSON.parse(out.trim().split("\n").at(-1)!) as { id: string };
    const shown = await agent.cli(["runs", "show", id, "--json"]);
    const [step] = (JSON.parse(shown.out) as { steps: { output: { loaded: unknown } | null }[] }).steps;
    return step!.output?.loaded ?? shown.out;
  };
  expect(await loaded()).toEqual({ exists: false, value: null });
  expect(await loaded()).toEqual({ exists: true, value: 1 });
  await agent.stop("SIGKILL");
  await agent.start();
  expect(await loaded()).toEqual({ exists: true, value: 2 });
});
