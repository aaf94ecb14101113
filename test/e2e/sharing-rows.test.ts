/** Who sees what of parameters and memory, and who may change it, on a real agent. */
import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { chmodSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type CliAgent, cliAgent } from "../../src/testing/cli-agent.ts";

setDefaultTimeout(90_000);

const say = (id: string, text: string, more = "") =>
  `{ id: ${id}${more}, action: exec, effect: idempotent, with: { command: say.sh, input: { text: "${text}" } } }`;
const CONFIG = `
params: { global: { region: eu } }
triggers: [${["p", "q", "shared-p", "shared-q"].map((name) => `{ name: ${name}, plugin: ${name} }`).join(", ")}]
pipelines:
  carry:
    params: { n: {} }
    steps: [${say("a", "got-${{ params.n }}")}, ${say("b", "${{ steps.a.output.stdout }}", ", needs: [a]")}]
  look: { namespace: shared, steps: [${say("a", "n=${{ size(memory.datum) }}")}] }
`;
const plugin = (name: string, namespaces: string) => `import { defineTrigger, v } from "holdfast";
export default defineTrigger({
  name: "${name}", description: "adds its name to the datum", settings: v.strictObject({}),
  permissions: { memory: ["datum"]${namespaces} },
  async *run({ memory, clock, signal }) {
    const datum = await memory.update("datum", (all = []) => all.includes("${name}") ? undefined : [...all, "${name}"]);
    yield { type: "kept", subject: "${name}", data: { datum } };
    for await (const _ of clock.every(1000, signal));
  },
});`;
const MAIN = new URL("../../src/main.ts", import.meta.url).pathname;
const executable = process.env.HOLDFAST_TEST_EXECUTABLE;

let agent: CliAgent;
beforeAll(async () => {
  agent = await cliAgent(CONFIG, { "say.sh": 'printf %s "$HOLDFAST_INPUT_TEXT"' });
  await agent.stop();
  for (const name of ["p", "q", "shared-p", "shared-q"]) {
    const folder = join(agent.base, `agent-${agent.id}`, "data/plugins", name);
    mkdirSync(folder, { recursive: true });
    const namespaces = name.startsWith("shared") ? `, namespaces: ["shared"]` : "";
    writeFileSync(join(folder, "plugin.ts"), plugin(name, namespaces));
  }
  await agent.start();
});
afterAll(() => agent.close());

async function outputsOf(...args: string[]): Promise<string[]> {
  const { out, err } = await agent.cli(["run", ...args, "--json"]);
  const { id } = JSON.parse(out.trim().split("\n").at(-1)!) as { id: string };
  const shown = await agent.cli(["runs", "show", id, "--json"]);
  const { steps } = JSON.parse(shown.out) as { steps: { output: { stdout: string } | null }[] };
  return steps.map(({ output }) => output?.stdout ?? err);
}

test("what a step hands on is seen by later steps of its run, and by no other run", async () => {
  const runs = await Promise.all([1, 2, 3, 4].map((n) => outputsOf("carry", `n=${n}`)));
  expect(runs).toEqual([1, 2, 3, 4].map((n) => [`got-${n}`, `got-${n}`]));
});

test("plugins have a memory of their own each; those that name a namespace share it, with the pipelines in it", async () => {
  for (let left = 400; left > 0; left--) {
    const { out } = await agent.cli(["events", "list", "--type", "kept", "--json"]);
    if ((JSON.parse(out) as { items: unknown[] }).items.length >= 4) break;
    if (left === 1) throw new Error(`not all have kept: ${(await agent.cli(["agent", "status"])).out}`);
    await Bun.sleep(50);
  }
  const datum = async (namespace: string) =>
    JSON.parse(
      (await agent.cli(["memory", "get", "datum", "--namespace", namespace])).out || "null",
    ) as unknown;
  expect(await datum("p")).toEqual(["p"]);
  expect(await datum("q")).toEqual(["q"]);
  expect(((await datum("shared")) as string[]).toSorted()).toEqual(["shared-p", "shared-q"]);
  expect([await datum("shared-p"), await datum("shared-q")]).toEqual([null, null]);
  expect(await outputsOf("look")).toEqual(["n=2"]);
});

test("the name of the agent's own namespace is refused", async () => {
  for (const what of ["memory", "param"]) {
    const { exit, err } = await agent.cli([what, "set", "a", "1", "--namespace", "holdfast"]);
    expect(exit).toBe(2);
    expect(err).toContain("the namespace holdfast is the agent's own");
  }
});

test.skipIf(process.getuid?.() !== 0)("another user of the host changes nothing", async () => {
  // Whoever gets as far as the socket.
  const root = join(agent.base, `agent-${agent.id}`);
  for (const folder of [agent.base, root]) chmodSync(folder, 0o755);
  const program = executable === undefined ? [process.execPath, MAIN] : [executable];
  const stranger = async (...args: string[]) => {
    const command = [...program, ...args, "--home", agent.base, "--id", agent.id];
    const child = Bun.spawn(
      ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--", ...command],
      {
        ...{ stdout: "pipe", stderr: "pipe", stdin: "ignore" },
      },
    );
    const err = await new Response(child.stderr).text();
    return { exit: await child.exited, err };
  };
  for (const what of [
    ["param", "set", "region", "us"],
    ["memory", "set", "a", "1"],
    ["param", "list"],
  ]) {
    const { exit, err } = await stranger(...what);
    expect(exit, err).toBe(4);
    expect(err).toContain("control.sock");
  }
  expect((await agent.cli(["param", "get", "region"])).out.trim()).toBe('"eu"');
});
