import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { type CliAgent, cliAgent } from "../testing/cli-agent.ts";

setDefaultTimeout(90_000);

const CONFIG = `
params:
  global: { region: eu, login: { value: hidden-login, secret: true } }
  namespaces: { web: { unit: front } }
pipelines:
  show:
    namespace: web
    steps: [{ id: say, action: exec, effect: idempotent, with: { command: say.sh, input: { text: "\${{ params.region }} \${{ params.unit }} \${{ params.agent_id }}" } } }]
  secret:
    namespace: web
    steps: [{ id: say, action: exec, effect: idempotent, with: { command: say.sh, input: { text: "\${{ params.hidden }} \${{ size(params.hidden) }}" } } }]
  outer:
    namespace: web
    steps: [{ id: in, pipeline: inner, with: { given: "\${{ params.hidden }}" } }, { id: ask, approval: { text: "\${{ params.hidden }}?", timeout: 300ms } }]
  inner: { steps: [{ id: say, action: exec, effect: idempotent, with: { command: say.sh, input: { text: "\${{ size(params.given) }}" } } }] }
  declared:
    namespace: web
    params: { unit: {}, region: { default: from-pipeline }, count: { type: int } }
    steps: [{ id: say, action: exec, effect: idempotent, with: { command: say.sh, input: { text: "\${{ params.region }} \${{ params.unit }} \${{ params.count }}" } } }]
`;
let agent: CliAgent;
beforeAll(async () => {
  agent = await cliAgent(CONFIG, { "say.sh": 'echo "$HOLDFAST_INPUT_TEXT"' });
});
afterAll(() => agent.close());

const param = (...args: string[]) => agent.cli(["param", ...args]);
const said = async (...args: string[]) => {
  const { exit, out, err } = await agent.cli(["run", ...args, "--json"]);
  const run = JSON.parse(out.trim().split("\n").at(-1)!) as { id: string };
  const shown = await agent.cli(["runs", "show", run.id, "--json"]);
  if (exit !== 0) return err + shown.out;
  return (JSON.parse(shown.out).steps[0].output.stdout as string).trim();
};

test("the documented layer wins, at each level, and what is set survives a restart", async () => {
  expect(await said("show")).toBe("eu front web-01");
  await param("set", "region", "set-global");
  expect(await said("show")).toBe("set-global front web-01");
  await param("set", "region", "set-web", "--namespace", "web");
  await agent.stop("SIGKILL");
  await agent.start();
  expect(await said("show")).toBe("set-web front web-01");
  expect((await agent.cli(["run", "declared"])).err).toContain("count");
  await param("set", "count", "7", "--namespace", "web");
  expect(await said("declared")).toBe("from-pipeline front 7");
  expect(await said("declared", "region=given", "unit=other")).toBe("given other 7");
  const { out } = await param("list", "--namespace", "web", "--sources");
  expect(out).toMatch(/^region +"eu" +all +configuration, global +-$/m);
  expect(out).toMatch(/^region +"set-global" +all +set, global +.* by local:\d+$/m);
  expect(out).toMatch(/^region +"set-web" +web +set, namespace +.* by local:\d+$/m);
  await param("remove", "region", "--namespace", "web");
  await param("remove", "region");
  expect(await said("show")).toBe("eu front web-01");
});

test("what is secret is masked; a wrong value is a run's error", async () => {
  expect((await param("list", "--namespace", "web", "--sources", "--json")).out).not.toContain(
    "hidden-login",
  );
  expect((await param("set", "hidden", "on-the-command-line", "--secret")).exit).toBe(2);
  const typed = await agent.onTerminal(
    ["param", "set", "hidden", "--secret", "--namespace", "web"],
    ["sealed-parameter-value"],
  );
  expect(typed.exit).toBe(0);
  // Nothing of it is shown as it is typed.
  expect(typed.out).toBe("Value of hidden? \nParameter hidden is set for namespace web.\n");
  expect((await agent.cli(["run", "outer"])).exit).toBe(6);
  await agent.stop("SIGKILL");
  const state = join(agent.base, `agent-${agent.id}`, "data", "state");
  for (const name of readdirSync(state))
    expect(readFileSync(join(state, name), "latin1")).not.toContain("sealed-parameter-value");
  await agent.start();
  expect(await said("secret")).toBe("*** 22");
  expect((await agent.cli(["secret", "list", "--json"])).out).not.toContain("hidden");
  await param("set", "hidden", "shown-now", "--namespace", "web");
  expect(await said("secret")).toBe("shown-now 9");
  expect((await param("get", "login")).out).toBe('"***"\n');
  const shown = (await agent.cli(["config", "show", "--sources"])).out;
  expect(shown).toContain("region: eu # conf.d/test.yaml:3");
  expect(shown).not.toContain("hidden-login");
  await param("set", "count", "many", "--namespace", "web");
  expect((await agent.cli(["run", "declared"])).err).toContain("parameter 'count' must be");
  await param("remove", "count", "--namespace", "web");
  expect((await param("get", "count", "--namespace", "web")).exit).toBe(3);
  expect((await param("set", "bad name", "1")).exit).toBe(1);
  expect((await param("set", "a", "1", "--namespace", "holdfast")).exit).toBe(2);
  expect(readFileSync(join(agent.base, `agent-${agent.id}`, "logs", "agent.log"), "utf8")).toContain(
    "parameter set",
  );
});
