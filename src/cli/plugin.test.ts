import {
  afterAll,
  afterEach,
  beforeAll,
  beforeEach,
  describe,
  expect,
  setDefaultTimeout,
  test,
} from "bun:test";
import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type AgentHome, agentHome, prepareHome } from "../agent/config/home.ts";
import { pluginReports } from "./plugin-report.ts";

// Each test starts several processes, and each of these a worker.
setDefaultTimeout(30_000);

const MAIN = join(import.meta.dir, "..", "main.ts");
const CONFIG = `agent: { id: web-01 }
triggers:
  - { name: front, plugin: http-probe, with: { url: "https://www.example.org/health" } }
pipelines:
  react:
    steps:
      - { id: note, action: file, with: { path: notes.txt, do: append } }
      - { id: clean, action: exec, with: { command: [scripts/clean.sh], write: [out] } }
      - { id: late, action: http, with: { url: "\${{ event.data.url }}" } }
outputs:
  - { name: archive, plugin: file, with: { path: archive/all.jsonl } }
`;

let base: string;
let home: AgentHome;

function makeHome(): void {
  base = realpathSync(mkdtempSync(join(tmpdir(), "holdfast-plugin-cli-")));
  home = agentHome(base, "web-01");
  prepareHome(home);
  writeFileSync(home.configFile, CONFIG);
  mkdirSync(join(home.root, "scripts"));
  mkdirSync(join(home.root, "out"));
  writeFileSync(join(home.root, "scripts/clean.sh"), "#!/bin/sh\n", { mode: 0o755 });
}

async function holdfast(...args: string[]) {
  const child = Bun.spawn([process.execPath, MAIN, ...args], {
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
    env: { PATH: process.env.PATH ?? "", HOME: base, HOLDFAST_SECRET_TOKEN: "x" },
  });
  const [out, err, code] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  const short = (text: string) => text.replaceAll(home.root, "HOME").replaceAll(base, "BASE");
  return { out: short(out), err: short(err), code };
}

const drop = (name: string, wishes: string) =>
  writeFileSync(
    join(home.plugins, `${name}.ts`),
    `import { defineAction, v } from "holdfast";
     export default defineAction({ name: "${name}", description: "test", settings: v.strictObject({ path: v.optional(v.string()) }), ${wishes}, async run() {} });`,
  );

describe("what there is", () => {
  beforeAll(makeHome);
  afterAll(() => rmSync(base, { recursive: true, force: true }));

  test("list: each plugin with what it asks for, the rule, the sandbox, and whether it may run", async () => {
    writeFileSync(
      home.policyFile,
      "plugins: { block: [interval], grants: [{ plugins: [ex*], on_more: narrow, permissions: { write: [] }, sandbox: strict }] }\n",
    );
    const { out, err, code } = await holdfast("plugin", "list", "--home", base);
    expect(err).toBe("");
    const rows = out.split("\n").map((line) => line.split(/ {2,}/));
    expect(rows[0]).toEqual(["NAME", "KIND", "FROM", "ASKS FOR", "POLICY", "SANDBOX", "GRANT"]);
    expect(rows).toContainEqual([
      "exec",
      "action",
      "shipped",
      "read, write, connect, exec, host",
      "ex*",
      "strict",
      "granted",
    ]);
    expect(rows).toContainEqual(["disk", "trigger", "shipped", "-", "no rule", "on", "granted"]);
    expect(rows).toContainEqual(["interval", "trigger", "shipped", "-", "no rule", "on", "refused"]);
    expect(rows).toContainEqual([
      "file-tail",
      "trigger",
      "shipped",
      "read",
      "no rule",
      "on",
      "by its settings",
    ]);
    expect(out).toContain("\npolicy: HOME/config/policy.yaml; writable by the agent\n");
    expect(code).toBe(0);
  });

  test("show: for each step what it gets; as JSON too", async () => {
    writeFileSync(
      home.policyFile,
      "plugins: { grants: [{ plugins: [exec], on_more: narrow, permissions: { write: [] }, resources: { memory: 64MB } }] }\n",
    );
    const text = await holdfast("plugin", "show", "exec", "--home", base);
    expect(text.out).toContain("action exec: Runs a program or script on the host");
    expect(text.out).toContain("rule      for exec\nsandbox   on\nstep react/clean: granted\n");
    expect(text.out).toContain(
      "  read @system, HOME/scripts\n  exec @system, HOME/scripts/clean.sh\n  resources memory 64MB (by the policy)\n",
    );
    expect(text.out).toContain(
      "less than asked: write out (${settings.write}): the policy allows nothing; granted nothing",
    );
    expect(text.code).toBe(0);
    const json = JSON.parse((await holdfast("plugin", "show", "file", "--home", base, "--json")).out);
    expect(json.policy).toMatchObject({ file: "HOME/config/policy.yaml", problems: [] });
    expect(json.plugins).toHaveLength(2);
    expect(json.plugins[0]).toMatchObject({
      kind: "action",
      from: "shipped",
      asks: {
        permissions: { write: ["${folder(settings.path)}?", "${settings.path}?"] },
        resources: { memory: "128MB" },
      },
      policy: { rule: null, sandbox: "on", ban: null },
      grant: null,
      uses: [
        {
          where: "step react/note",
          grant: { state: "granted", permissions: { write: ["HOME/notes.txt"] }, create: ["HOME/notes.txt"] },
        },
      ],
    });
    expect(json.plugins[1].uses[0]).toMatchObject({
      where: "output archive",
      grant: { permissions: { write: ["HOME/archive"] }, needsHiding: false },
    });
    const http = (await pluginReports(home)).plugins.filter(({ name }) => name.startsWith("http"));
    expect(http.map(({ uses }) => uses![0])).toMatchObject([
      // Its address is known when the step starts.
      { where: "step react/late", grant: { state: "granted", permissions: {} } },
      { where: "trigger front", grant: { permissions: { connect: ["www.example.org:443"] } } },
    ]);
  });

  test("a name that is not there, and one that is nearly", async () => {
    expect(await holdfast("plugin", "show", "exce", "--home", base)).toMatchObject({
      code: 3,
      err: 'holdfast: there is no plugin "exce": did you mean "exec"?\n',
    });
    expect((await holdfast("plugin", "list", "--hom", base)).code).toBe(2);
  });

  test.each(["plugin list", "plugin show", "plugin"])(
    "the example in the help of %s runs",
    async (command) => {
      const help = await holdfast(...command.split(" "), "--help");
      const example = /^Example: holdfast (.+)$/m.exec(help.out)?.[1];
      expect(example).toStartWith(command);
      const result = await holdfast(...example!.split(" "), "--home", base);
      expect({ example, ...result }).toMatchObject({ code: 0, err: "" });
    },
  );
});

describe("bad input is refused with the reason", () => {
  beforeEach(makeHome);
  afterEach(() => rmSync(base, { recursive: true, force: true }));

  const use = (name: string, settings = "{}") =>
    writeFileSync(
      home.configFile,
      `agent: { id: web-01 }\npipelines: { p: { steps: [{ id: s, action: ${name}, with: ${settings} }] } }\n`,
    );

  test.each<[string, string, string]>([
    [
      "unknown permission",
      "permissions: { raed: ['/etc'] }",
      'permissions of action bad: unknown key "raed" (did you mean "read"?)',
    ],
    [
      "impossible size",
      "resources: { memory: '64 MiB', processes: 0 }",
      "resources of action bad: memory: expected a size: a number and a unit, like 64MB",
    ],
    ["too small", "resources: { memory: '1KB' }", "memory: expected at least 1MB"],
    [
      "relative path",
      "permissions: { read: ['etc/app'] }",
      "read[0]: expected an absolute path without `.` or `..`",
    ],
    [
      "..",
      "permissions: { write: ['/srv/../etc'] }",
      "write[0]: expected an absolute path without `.` or `..`",
    ],
    [
      ".. behind a setting",
      "permissions: { write: ['${settings.path}/../x'] }",
      "write[0]: expected an absolute path without `.` or `..`",
    ],
    ["a setting that is none", "permissions: { write: ['${settings.pat}'] }", 'there is no setting "pat"'],
    [
      "an endpoint without port",
      "permissions: { connect: ['example.org'] }",
      "connect[0]: expected host:port",
    ],
  ])("manifest: %s", async (_, wishes, reason) => {
    drop("bad", wishes);
    use("bad");
    const validated = await holdfast("config", "validate", "--home", base);
    expect(validated.out).toContain(
      'HOME/config/agent.yaml:2:44: pipelines.p.steps[0].action: there is no action plugin "bad"',
    );
    expect(validated.out).toContain(reason);
    expect(validated.code).toBe(1);
    const shown = await holdfast("plugin", "show", "bad", "--home", base);
    expect(shown.err).toContain(reason);
    expect(shown.code).toBe(1);
    expect((await holdfast("plugin", "list", "--home", base)).out).toContain(
      "not usable: HOME/data/plugins/bad.ts: ",
    );
  });

  test("places: what is not there, a link out of an allowed folder, configuration, keys", async () => {
    mkdirSync(join(base, "allowed"));
    mkdirSync(join(base, "other"));
    symlinkSync(join(base, "other"), join(base, "allowed/link"));
    drop(
      "bad",
      `permissions: { read: ["\${settings.path}"], write: ["\${home}/config/x", "${base}/allowed/link"] }`,
    );
    use("bad", "{ path: /nope }");
    writeFileSync(
      home.policyFile,
      `plugins: { grants: [{ plugins: [bad], permissions: { write: [${base}/allowed, "\${home}"] } }] }\n`,
    );
    const { out, code } = await holdfast("config", "validate", "--home", base);
    expect(out.split("\n")).toEqual([
      expect.stringContaining(
        "agent.yaml:2:44: pipelines.p.steps[0].action: plugin bad: read /nope (${settings.path}): there is nothing at /nope; make it",
      ),
      expect.stringContaining(
        "plugin bad: write BASE/allowed/link, which leads to BASE/other,: the policy allows BASE/allowed, HOME; ask for less",
      ),
      expect.stringContaining(
        "plugin bad: write HOME/config/x (${home}/config/x): it lies in HOME/config, which no plugin may write",
      ),
      "3 problems",
      "",
    ]);
    expect(code).toBe(1);
    const shown = await holdfast("plugin", "show", "bad", "--home", base);
    expect(shown.out).toContain("step p/s: refused\n  plugin bad: read /nope");
  });

  test("a policy with errors: its problems once, beside those of the configuration, and nothing may start", async () => {
    writeFileSync(home.policyFile, "sandbox: onn\nplugins: { blok: [exec] }\n");
    writeFileSync(home.configFile, `${CONFIG}log: { level: inf }\n`);
    const { out, code } = await holdfast("config", "validate", "--home", base, "--json");
    expect(code).toBe(1);
    const report = JSON.parse(out);
    expect(report).toMatchObject({ valid: false, policy: { file: "HOME/config/policy.yaml" } });
    expect(report.problems).toMatchObject([
      { path: "log.level", suggestion: "info" },
      { file: "HOME/config/policy.yaml", line: 1, column: 10, path: "sandbox", suggestion: "on" },
      { line: 2, column: 12, path: "plugins.blok", suggestion: "block" },
    ]);
    const shown = await holdfast("plugin", "show", "disk", "--home", base);
    expect(shown.out).toContain(
      "no plugin may start, because the policy HOME/config/policy.yaml has 2 problems:",
    );
    expect(shown.out).toContain("sandbox   nothing runs");
    const listed = JSON.parse((await holdfast("plugin", "list", "--home", base, "--json")).out);
    expect(
      listed.plugins.every((plugin: { policy: { ban: string } }) =>
        plugin.policy.ban.startsWith("no plugin"),
      ),
    ).toBe(true);
    // Showing the configuration needs no policy.
    writeFileSync(home.configFile, CONFIG);
    expect((await holdfast("config", "show", "--home", base)).code).toBe(0);
  });

  test("blocked, and not on the list of those allowed", async () => {
    writeFileSync(home.policyFile, "plugins: { block: [http*], allow: [file, http-probe, http] }\n");
    const { out } = await holdfast("config", "validate", "--home", base);
    expect(out).toContain(
      "triggers[0].plugin: plugin http-probe: the policy blocks it (plugins.block: http*)",
    );
    expect(out).toContain(
      "pipelines.react.steps[1].action: plugin exec: the policy allows only file, http-probe, http",
    );
    expect(out).toEndWith("3 problems\n");
  });
});
