import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { chmodSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type CliAgent, cliAgent } from "../testing/cli-agent.ts";

setDefaultTimeout(90_000);

const CONFIG = `
pipelines:
  plugin: { params: { delay: {} }, steps: [{ id: ask, action: asker, with: { delay: "\${{ params.delay }}" } }] }
  script: { steps: [{ id: ask, action: sh-asker }] }
  said: { params: { who: { pattern: "[a-z]+" } }, steps: [{ id: say, action: file, with: { path: said.log, do: append, content: "\${{ params.who }} " } }] }
`;
const ASKER = `import { defineAction, v } from "holdfast";
export default defineAction({
  name: "asker", description: "puts runs off", settings: v.strictObject({ delay: v.string() }), effect: "idempotent",
  async run({ settings, later }) {
    const refused = async (...given) => await later(...given).then(() => "taken", (error) => error.code + ": " + error.message);
    await later("said", { who: "plugin" }, { in: settings.delay });
    return [
      await refused("nothing", {}, { in: "1s" }),
      await refused("said", { who: "42" }, { in: "1s" }),
      await refused("said", { who: "x" }, { in: "soon" }),
      await refused("said", { who: "x" }, {}),
    ];
  },
});`;
const SCRIPT = `#!/bin/sh
set -e
holdfast call later said who=script --in 1s
holdfast call later said who=moment --at 2020-01-01T00:00:00Z
holdfast call later said who=x || echo "no time: $?"
`;

let agent: CliAgent;
beforeAll(async () => {
  agent = await cliAgent(CONFIG);
  const home = join(agent.base, `agent-${agent.id}`);
  const plugins = join(home, "data", "plugins");
  mkdirSync(join(plugins, "asker"), { recursive: true });
  writeFileSync(join(plugins, "asker", "plugin.ts"), ASKER);
  mkdirSync(join(plugins, "sh-asker"), { recursive: true });
  writeFileSync(
    join(plugins, "sh-asker", "plugin.yaml"),
    "name: sh-asker\nkind: action\ndescription: puts runs off\nruntime: exec\nentry: ask.sh\ncalls: true\n",
  );
  writeFileSync(join(plugins, "sh-asker", "ask.sh"), SCRIPT);
  chmodSync(join(plugins, "sh-asker", "ask.sh"), 0o755);
  await agent.stop();
  await agent.start();
}, 120_000);
afterAll(() => agent.close());

/** The command line is asked again until it says so. */
async function until(what: string, asked: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + 60_000;
  while (!(await asked())) if (performance.now() > deadline) throw new Error(`in vain: ${what}`);
}

type Run = { pipeline: string; state: string; starter: { kind: string; by: string }; id: string };
const saidRuns = async () => {
  const { out } = await agent.cli(["runs", "list", "--pipeline", "said", "--json"]);
  return (JSON.parse(out) as { items: Run[] }).items;
};
const putOff = async () => {
  const { out } = await agent.cli(["schedules", "list", "--json"]);
  return (JSON.parse(out) as { later: { id: string; pipeline: string; plugin: string }[] }).later;
};
const refusals = async () => {
  const { out } = await agent.cli(["events", "list", "--type", "schedule.due", "--json"]);
  const { items } = JSON.parse(out) as { items: { event: { data: { problem?: string } } }[] };
  return items.flatMap(({ event }) => event.data.problem ?? []);
};

test("a script puts off two runs, and both start", async () => {
  const { out, exit } = await agent.cli(["run", "script"]);
  expect(`${exit} ${out}`).toStartWith("0 ");
  expect(out).toContain("status succeeded");
  await until(
    "both to run",
    async () => (await saidRuns()).filter(({ state }) => state === "succeeded").length === 2,
  );
  expect((await saidRuns()).every(({ starter }) => starter.kind === "schedule")).toBe(true);
});

test("a plugin does, over a restart; what cannot be is refused at once", async () => {
  const asked = await agent.cli(["run", "plugin", "delay=5s", "--json"]);
  const { id } = JSON.parse(asked.out) as { id: string };
  const shown = await agent.cli(["runs", "show", id, "--json"]);
  const { steps } = JSON.parse(shown.out) as { steps: { output: string[] }[] };
  expect(steps[0]!.output).toEqual([
    expect.stringMatching(/^invalid: .*there is no pipeline nothing/),
    expect.stringMatching(/^invalid: .*who/),
    expect.stringMatching(/^invalid: when\?/),
    expect.stringMatching(/^invalid: when\?/),
  ]);
  const before = (await saidRuns()).length;
  await agent.stop("SIGKILL");
  await agent.start();
  await until("it to run", async () => (await saidRuns()).length === before + 1);
  expect(await putOff()).toEqual([]);
});

test("it is shown, and taken back", async () => {
  await agent.cli(["run", "plugin", "delay=1h"]);
  const [row] = await putOff();
  expect(row).toMatchObject({ pipeline: "said", plugin: "asker" });
  const { out } = await agent.cli(["schedules", "list"]);
  expect(out).toMatch(new RegExp(`^${row!.id} +said +in (59m|1h) +asker +[0-9a-f-]{36} ask$`, "m"));
  const cancelled = await agent.cli(["schedules", "cancel", row!.id.slice(-8)]);
  expect(cancelled.out).toBe(`Run ${row!.id} is put off no more; it will not start.\n`);
  expect(await putOff()).toEqual([]);
  expect((await agent.cli(["schedules", "cancel", row!.id])).exit).toBe(3);
});

test("a plugin that the policy bans meanwhile starts nothing", async () => {
  await agent.cli(["run", "plugin", "delay=3s"]);
  const before = (await saidRuns()).length;
  await agent.stop();
  const policy = join(agent.base, `agent-${agent.id}`, "config", "policy.yaml");
  writeFileSync(policy, "plugins: { block: [asker] }\n");
  await agent.start();
  await until("its event", async () => (await refusals()).length > 0);
  expect(await refusals()).toEqual([expect.stringContaining("plugin asker: the policy blocks it")]);
  expect((await saidRuns()).length).toBe(before);
  rmSync(policy);
});
