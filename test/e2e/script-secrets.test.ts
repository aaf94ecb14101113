/** How a script comes to a secret: a file of its own, standard input, and the environment where that was allowed twice. */
import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { chmodSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { secretFilesFolder } from "../../src/model/secret.ts";
import { type CliAgent, cliAgent } from "../../src/testing/cli-agent.ts";
import { until } from "../../src/testing/until.ts";

setDefaultTimeout(120_000);

const VALUE = "a t0k3n with 'quotes' and\ntwo lines";
const MAIN = new URL("../../src/main.ts", import.meta.url).pathname;
const executable = process.env.HOLDFAST_TEST_EXECUTABLE;

/** Says how it was told, and nothing of what it was told. */
const SCRIPT = `#!/bin/sh
hash() { sha256sum | cut -c1-16; }
input=$(cat | hash)
file=$(cat "$HOLDFAST_INPUT_TOKEN_FILE" 2>/dev/null | hash)
mode=$(stat -c %a "$HOLDFAST_INPUT_TOKEN_FILE" 2>/dev/null)
env=$(printf %s "\${HOLDFAST_INPUT_TOKEN-none}" | hash)
others=$(ls "\${HOLDFAST_INPUT_TOKEN_FILE%/*}" | wc -l)
(echo x > "$HOLDFAST_INPUT_TOKEN_FILE") 2>/dev/null && mode=written
printf '{"input":"%s","file":"%s","mode":"%s","env":"%s","others":%s}' "$input" "$file" "$mode" "$env" "$others"
`;
const SCRIPTS: Record<string, string> = {
  slow: "#!/bin/sh\nsleep 60\n",
  // Looks for what is not its own, by names that it cannot list as well.
  spy: `#!/bin/sh
input=$(cat)
place=$(echo "$input" | sed 's/.*"place":"\\([^"]*\\)".*/\\1/')
cat "$place" 2>/dev/null | sha256sum | cut -c1-16
`,
};
/** Gets events on its standard input, so that the file is all that it has. */
const OUTPUT = `#!/bin/sh
cat > /dev/null
echo "told $(sha256sum < "$HOLDFAST_INPUT_TOKEN_FILE" | cut -c1-16)" >&2
exit 1
`;
const CONFIG = `outputs: [{ name: away, plugin: away, with: { token: "\${{ secrets.TOKEN }}" } }]
pipelines:
  file: { steps: [{ id: a, action: by-file, with: { token: "\${{ secrets.TOKEN }}" } }] }
  slow: { steps: [{ id: a, action: slow, effect: idempotent, timeout: 60s, with: { token: "\${{ secrets.TOKEN }}" } }] }
  spy: { params: { place: {} }, steps: [{ id: a, action: spy, with: { place: "\${{ params.place }}" } }] }
  wide-spy: { params: { place: {} }, steps: [{ id: a, action: wide-spy, with: { place: "\${{ params.place }}" } }] }
  env: { steps: [{ id: a, action: by-env, with: { token: "\${{ secrets.TOKEN }}" } }] }
`;
/** The wide one may read all around the place where the files are. */
const manifest = (name: string, more = "") =>
  `name: ${name}\nkind: action\nruntime: exec\ndescription: says how it was told\nentry: x.sh\n` +
  `settings: { properties: { token: { type: string }, place: { type: string } } }\n` +
  `permissions: { read: ['@system'${name === "wide-spy" ? ", /dev/shm" : ""}], exec: ['@system'], secrets: [TOKEN]${more} }\n`;
const hash = (text: string) => new Bun.CryptoHasher("sha256").update(text).digest("hex").slice(0, 16);

let agent: CliAgent;
const root = () => join(agent.base, `agent-${agent.id}`);

function place(path: string, text: string): void {
  mkdirSync(join(root(), path, ".."), { recursive: true });
  writeFileSync(join(root(), path), text);
}

/** The output of the one step, or its error. */
async function run(...pipeline: string[]): Promise<Record<string, unknown>> {
  const { out } = await agent.cli(["run", ...pipeline, "--json"]);
  const { id } = JSON.parse(out.trim().split("\n").at(-1)!) as { id: string };
  const shown = JSON.parse((await agent.cli(["runs", "show", id, "--json"])).out) as {
    steps: { output: Record<string, unknown>; error: Record<string, unknown> | null }[];
  };
  return shown.steps[0]!.error ?? shown.steps[0]!.output;
}

const memory = () => secretFilesFolder(join(root(), "tmp/workdir"));
const leftInMemory = () => readdirSync(memory());

beforeAll(async () => {
  agent = await cliAgent(CONFIG);
  await agent.stop();
  for (const [name, more] of [
    ["by-file", ""],
    ["slow", ""],
    ["spy", ""],
    ["wide-spy", ""],
    ["by-env", ", secretEnv: [TOKEN]"],
  ] as const) {
    place(`data/plugins/${name}/plugin.yaml`, manifest(name, more));
    place(`data/plugins/${name}/x.sh`, SCRIPTS[name.replace("wide-", "")] ?? SCRIPT);
    chmodSync(join(root(), `data/plugins/${name}/x.sh`), 0o755);
  }
  place("data/plugins/away/plugin.yaml", manifest("away").replace("kind: action", "kind: output"));
  place("data/plugins/away/x.sh", OUTPUT);
  chmodSync(join(root(), "data/plugins/away/x.sh"), 0o755);
  await agent.start();
  const program = executable === undefined ? [process.execPath, MAIN] : [executable];
  const child = Bun.spawn([...program, "secret", "set", "TOKEN", "--home", agent.base, "--id", agent.id], {
    stdin: new Blob([VALUE]),
  });
  expect(await child.exited).toBe(0);
});
afterAll(() => agent.close());

const told = {
  input: hash(`${JSON.stringify({ token: VALUE })}\n`),
  file: hash(VALUE),
  mode: "400",
  others: 1,
};

test("a file that only it can read, which goes when it ends; the environment has nothing", async () => {
  expect(await run("file")).toEqual({ ...told, env: hash("none") });
  expect(leftInMemory()).toEqual([]);
});

test("the environment only where manifest and policy say so", async () => {
  expect(await run("env")).toMatchObject({
    code: "denied",
    message: expect.stringContaining("secretEnv TOKEN: the policy allows nothing"),
  });
  await agent.stop();
  place("config/policy.yaml", "secrets: { environment: [TOKEN] }\n");
  await agent.start();
  expect(await run("env")).toEqual({ ...told, env: hash(VALUE) });
  expect(await run("file")).toEqual({ ...told, env: hash("none") });
});

test("what a killed agent leaves of them goes at its next start", async () => {
  const { out } = await agent.cli(["run", "slow", "--no-wait", "--json"]);
  const { id } = JSON.parse(out.trim().split("\n").at(-1)!) as { id: string };
  await until("the script to have its file", () => leftInMemory().length === 1, 30_000);
  const [first] = leftInMemory();
  // Nobody else gets at it meanwhile, whatever it may read otherwise.
  const place = `place=${join(memory(), first!, "HOLDFAST_INPUT_TOKEN_FILE")}`;
  for (const spy of ["spy", "wide-spy"])
    expect((await run(spy, place)).raw_output, spy).toBe(`${hash("")}\n`);
  await agent.stop("SIGKILL");
  await agent.start();
  await until("the file of before to go", () => !leftInMemory().includes(first!), 30_000);
  expect((await agent.cli(["runs", "cancel", id])).exit).toBe(0);
  await until("the file of the second attempt to go", () => leftInMemory().length === 0, 30_000);
});

test("an output finds its own in the same way", async () => {
  await agent.stop();
  await agent.start();
  expect((await agent.cli(["events", "emit", "news"])).exit).toBe(0);
  for (let left = 200; ; left--) {
    const { out } = await agent.cli(["agent", "status", "--json"]);
    if (out.includes(`told ${hash(VALUE)}`)) break;
    if (left === 0) throw new Error(`the output was not told: ${out}`);
    await Bun.sleep(50);
  }
});
