import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { appendFileSync, chmodSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type CliAgent, cliAgent } from "../testing/cli-agent.ts";

setDefaultTimeout(90_000);

const text = await Bun.file(join(import.meta.dir, "../../docs/explain.md")).text();
const blocks = (kind: string) =>
  [...text.matchAll(new RegExp(`^\`\`\`${kind}\\n([\\s\\S]*?)^\`\`\`$`, "gm"))].map(([, block]) => block!);
/** Commands of the page in their order, each with what it is to print. */
const commands = blocks("console").flatMap((block) =>
  block
    .split(/^\$ holdfast /m)
    .slice(1)
    .map((each) => each.trimEnd().split(/\n([\s\S]*)/, 2) as [line: string, output: string]),
);

let agent: CliAgent;
/** What the page calls 3f9a12bc. */
let first: string;

async function newest(): Promise<{ id: string; state: string } | undefined> {
  return JSON.parse((await agent.cli(["runs", "list", "--json"])).out).items[0];
}

async function until(what: string, condition: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + 60_000;
  while (!(await condition()))
    if (performance.now() > deadline) throw new Error(`waited in vain for ${what}`);
}

async function shown(id: string): Promise<any> {
  return JSON.parse((await agent.cli(["runs", "explain", id, "--json"])).out);
}

beforeAll(async () => {
  agent = await cliAgent(blocks("yaml")[0]!);
  const root = join(agent.base, `agent-${agent.id}`);
  const folder = join(root, "data", "plugins", "restart-app");
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, "plugin.yaml"), blocks("plugin")[0]!);
  writeFileSync(join(folder, "restart.sh"), blocks("script")[0]!);
  chmodSync(join(folder, "restart.sh"), 0o755);
  await agent.stop();
  await agent.start();
  // The trigger tells what comes after it has looked for the first time: until then lines are lost on it.
  await until("the first event", async () => {
    appendFileSync(join(root, "app.log"), "all is well\n");
    return JSON.parse((await agent.cli(["events", "list", "--json"])).out).items.length > 0;
  });
  appendFileSync(join(root, "app.log"), "accept: out of handles\n");
  await until("the run of the rule", async () => (await newest()) !== undefined);
  first = (await newest())!.id;
});
afterAll(() => agent.close());

test("there are commands", () => expect(commands.length).toBe(5));

test.each(commands)("%s", async (line, output) => {
  const latest = (await newest())!.id;
  const words = line.match(/"[^"]*"|\S+/g)!.map((word) => word.replaceAll('"', ""));
  const { exit, out, err } = await agent.cli(
    words.map((word) => (word === "3f9a12bc" ? first.slice(-8) : word === "LATEST" ? latest : word)),
  );
  expect(exit, err).toBe(0);
  if (words[1] === "approve")
    await until("the end of the run", async () => (await newest())!.state === "failed");
  const pattern = output
    .replaceAll("\n\nWhat it did", "…\n\nWhat it did")
    .replaceAll(/^Why$/gm, "…Why")
    .split("…")
    .map((piece) => RegExp.escape(piece))
    .join("[\\s\\S]*");
  expect(out.trimEnd()).toMatch(new RegExp(`^${pattern}$`));
  // One screen.
  expect(out.split("\n").length).toBeLessThanOrEqual(40);
});

test("as JSON it has every field that the page names, and nothing that it does not", async () => {
  const told = await shown(first);
  const named = (value: object) => Object.keys(value).filter((key) => !text.includes(`\`${key}\``));
  const attempt = told.steps[1].attempts[0];
  for (const part of [told, told.run, told.steps[1], attempt, attempt.worker, attempt.ended, told.started])
    expect(named(part)).toEqual([]);
  for (const part of [told.rule, told.events[0], told.config, told.steps[0].words[0]])
    expect(named(part)).toEqual([]);
  expect(told).toMatchObject({
    missing: [],
    config: { inForce: true },
    rule: { name: "help a sick app", now: "same", text: { cooldown: "5m" } },
    events: [
      { type: "app.sick", hops: 1, rule: { name: "complaints" } },
      { plugin: "file-tail", hops: 0 },
    ],
  });
  expect(attempt).toMatchObject({ state: "unknown", error: { code: "memory" }, ended: { cause: "memory" } });
  expect(attempt.worker.version).toMatch(/^sha256 [0-9a-f]{12}$/);
});

test("after another configuration and program the run is told as it was", async () => {
  const before = await shown(first);
  await agent.stop();
  const root = join(agent.base, `agent-${agent.id}`);
  const changed = blocks("yaml")[0]!
    .replace("cooldown: 5m", "cooldown: 1m")
    .replaceAll("complaints", "moans");
  writeFileSync(join(root, "config", "conf.d", "test.yaml"), changed);
  writeFileSync(join(root, "data", "plugins", "restart-app", "restart.sh"), "#!/bin/sh\necho done\n");
  await agent.start();
  const after = await shown(first);
  expect(after.rule).toEqual({ ...before.rule, now: "changed" });
  expect(after.events[0].rule).toEqual({ ...before.events[0].rule, now: "gone" });
  expect(after.config).toEqual({ ...before.config, inForce: false });
  expect(after.steps).toEqual(before.steps);
  expect((await agent.cli(["runs", "explain", first])).out).toContain(", changed since\n");
});

test("what there is not", async () => {
  const other = `${first.slice(0, -1)}${first.endsWith("0") ? "1" : "0"}`;
  const run = await agent.cli(["runs", "explain", other]);
  expect(run).toMatchObject({ exit: 3, out: "" });
  expect(run.err).toContain(`did you mean ${first}?`);
  const step = await agent.cli(["runs", "explain", first, "--step", "restrat"]);
  expect(step).toMatchObject({ exit: 3, out: "" });
  expect(step.err).toContain("did you mean restart?");
  expect((await agent.cli(["runs", "explain"])).exit).toBe(2);
});

test("the example of its help works", async () => {
  const { out } = await agent.cli(["runs", "explain", "--help"]);
  const example = /Example: holdfast (runs explain 3f9a12bc)$/m.exec(Bun.stripANSI(out))![1]!;
  const { exit, err } = await agent.cli(example.replace("3f9a12bc", first.slice(-8)).split(" "));
  expect(exit, err).toBe(0);
});
