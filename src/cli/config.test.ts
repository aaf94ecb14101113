import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { agentHome, prepareHome } from "../agent/config/home.ts";

const MAIN = join(import.meta.dir, "..", "main.ts");
const VALID = `agent: { id: web-01 }
log: { level: warn }
triggers:
  - name: front
    plugin: http-probe
    with: { url: "http://127.0.0.1:1/" }
pipelines:
  p:
    steps:
      - id: s
        action: exec
        with: { command: x, input: { api_token: "\${MY_TOKEN:-hunter2}", note: "\${MY_TOKEN:-hunter2}" } }
`;

let base: string;
beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), "holdfast-config-cli-"));
});
afterEach(() => rmSync(base, { recursive: true, force: true }));

async function holdfast(args: string[], env: Record<string, string> = {}) {
  const child = Bun.spawn([process.execPath, MAIN, "config", ...args], {
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
    env: { PATH: process.env.PATH ?? "", HOME: base, XDG_STATE_HOME: base, ...env },
  });
  const [out, err, code] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  return { out: out.replaceAll(`${base}/`, ""), err: err.replaceAll(`${base}/`, ""), code };
}

function place(id: string, text: string): void {
  const home = agentHome(base, id);
  prepareHome(home);
  writeFileSync(home.configFile, text);
}

describe("config validate", () => {
  test("a file: every problem a line, then their number, exit 1; as JSON too", async () => {
    const file = join(base, "bad.yaml");
    writeFileSync(file, "helth: 1\nlog: { level: inf }\n\u001b[31mred: 1\n");
    const text = await holdfast(["validate", file]);
    expect(text.out.split("\n")).toEqual([
      expect.stringContaining('bad.yaml:1:1: helth: unknown key "helth"'),
      'bad.yaml:2:15: log.level: invalid value; expected one of debug, info, warn, error; found "inf"; did you mean "info"?',
      expect.stringContaining("bad.yaml:3:1: "),
      "3 problems",
      "",
    ]);
    expect(text.out).not.toContain("\u001b");
    expect(text.code).toBe(1);
    const json = await holdfast(["validate", file, "--json"]);
    const report = JSON.parse(json.out);
    expect(json.code).toBe(1);
    expect(report).toMatchObject({ valid: false, files: ["bad.yaml"] });
    expect(report.problems[1]).toEqual({
      file: "bad.yaml",
      line: 2,
      column: 15,
      path: "log.level",
      message: "invalid value",
      expected: "one of debug, info, warn, error",
      actual: '"inf"',
      suggestion: "info",
    });
  });

  test("a file that is fine says what is in it; the environment's overrides are not part of it", async () => {
    const file = join(base, "good.yaml");
    writeFileSync(file, VALID);
    const { out, code } = await holdfast(["validate", file], { HOLDFAST__LOG__LEVEL: "nonsense" });
    expect(out).toBe("good.yaml: valid, 1 trigger, 0 rules, 1 pipeline, 0 outputs\n");
    expect(code).toBe(0);
  });

  test("plugins are known: the shipped ones, and those dropped into the agent's home", async () => {
    const text = `triggers:
  - { name: a, plugin: http-prob }
  - { name: b, plugin: mine, with: { evry: 1s } }
`;
    const plugin = `import { defineTrigger, duration, v } from "holdfast";
export default defineTrigger({
  name: "mine",
  description: "Does nothing",
  settings: v.strictObject({ every: duration("1s") }),
  async *run() {},
});
`;
    place("web-01", text);
    writeFileSync(join(agentHome(base, "web-01").plugins, "mine.ts"), plugin);
    const file = join(base, "alone.yaml");
    writeFileSync(file, text);
    const alone = await holdfast(["validate", file]);
    expect(alone.out).toContain(
      'alone.yaml:2:24: triggers[0].plugin: there is no trigger plugin "http-prob"',
    );
    expect(alone.out).toContain('did you mean "http-probe"?');
    expect(alone.out).toContain('alone.yaml:3:24: triggers[1].plugin: there is no trigger plugin "mine"');
    const { out, code } = await holdfast(["validate", "--home", base]);
    expect(out.split("\n").slice(1, 3)).toEqual([
      'agent-web-01/config/agent.yaml:3:38: triggers[1].with.evry: unknown setting; expected one of every; did you mean "every"?',
      "2 problems",
    ]);
    expect(code).toBe(1);
  });

  test("an agent: all that merges, and the environment", async () => {
    place("web-01", VALID);
    const fine = await holdfast(["validate", "--home", base]);
    expect(fine.out).toStartWith("agent-web-01/config/agent.yaml: valid, 1 trigger");
    const wrong = await holdfast(["validate", "--id", "web-01", "--home", base], {
      HOLDFAST__LOG__LEVEL: "nonsense",
    });
    expect(wrong.out).toStartWith("environment: log.level: invalid value (HOLDFAST__LOG__LEVEL)");
    expect(wrong.code).toBe(1);
  });

  test.each([
    ["a file that is not there", ["validate", "none.yaml"], 3, "there is no configuration file none.yaml"],
    ["no agent", ["validate", "--home", "/nonexistent"], 3, "there is no agent in /nonexistent"],
    ["an agent that is not there", ["show", "--id", "web-03"], 3, "there is no agent web-03 in"],
    ["a bad id", ["show", "--id", "../x"], 1, '"../x" is not an agent id'],
    ["several agents", ["show"], 2, "say which with --id (web-01, web-02)"],
    ["an unknown flag", ["show", "--souces"], 2, "did you mean --sources?"],
  ])("%s", async (_name, args, exit, message) => {
    mkdirSync(join(base, "holdfast"));
    const home = join(base, "holdfast");
    for (const id of ["web-01", "web-02"]) prepareHome(agentHome(home, id));
    const { err, code, out } = await holdfast(args[0] === "validate" ? args : [...args, "--home", home]);
    expect(err).toContain(message);
    expect(out).toBe("");
    expect(code).toBe(exit);
  });
});

describe("config show", () => {
  test("effective YAML with the source of each value, flag over environment over file over default; no secret", async () => {
    place("web-01", VALID);
    const env = { MY_TOKEN: "hunter2", HOLDFAST__LOG__LEVEL: "debug", HOLDFAST__LIMITS__STEPS: "7" };
    const { out, code } = await holdfast(["show", "--sources", "--id", "web-01", "--home", base], env);
    expect(code).toBe(0);
    expect(out).toMatchInlineSnapshot(`
      "agent:
        id: web-01 # --id
        labels: {} # default
      health:
        listen: 127.0.0.1:9110 # default
      log:
        level: debug # HOLDFAST__LOG__LEVEL
        max_size: 100MB # default
        max_files: 5 # default
      limits:
        event_size: 256KB # default
        output_size: 256KB # default
        steps: 7 # HOLDFAST__LIMITS__STEPS
        runs: 10000 # default
        side_effects: 100000 # default
        worker_idle: 60s # default
        memory: 1GB # default
        cpu: 4 # default
        disk: 5GB # default
        interval: 15s # default
      history:
        events:
          keep: 26000000 # default
          age: 30d # default
        runs:
          keep: 100000 # default
          age: 30d # default
        findings:
          keep: 10000 # default
          age: 90d # default
        dead_letters:
          keep: 10000 # default
          age: 90d # default
        size: 2GB # default
      sync:
        backlog:
          rate: 1MB # default
        outbox:
          rows: 5000000 # default
          size: 1GB # default
        keep:
          age: 24h # default
          size: 64MB # default
      params:
        global: {} # default
        namespaces: {} # default
      triggers:
        - name: front # agent.yaml:4
          plugin: http-probe # agent.yaml:5
          enabled: true # default
          with:
            url: http://127.0.0.1:1/ # agent.yaml:6
      rules: [] # default
      pipelines:
        p:
          namespace: default # default
          description: "" # default
          concurrency: 16 # default
          priority: 0 # default
          steps:
            - id: s # agent.yaml:10
              action: exec # agent.yaml:11
              needs: [] # default
              with:
                command: x # agent.yaml:12
                input:
                  api_token: "***" # agent.yaml:12
                  note: "***" # agent.yaml:12
              timeout: 30s # default
              retry:
                attempts: 1 # default
                backoff: exponential # default
                initial: 1s # default
                max: 1m # default
          on_failure: [] # default
          finally: [] # default
      schedules: [] # default
      maintenance: [] # default
      outputs: [] # default
      "
    `);
    const json = await holdfast(["show", "--json", "--sources", "--home", base], env);
    expect(JSON.parse(json.out).sources["log.level"]).toBe("HOLDFAST__LOG__LEVEL");
    expect(json.out).not.toContain("hunter2");
  });

  test("without sources it is a configuration again", async () => {
    place("web-01", VALID.replace(/, input: .*? }/, ""));
    const { out } = await holdfast(["show", "--home", base]);
    const file = join(base, "shown.yaml");
    expect(out).toStartWith("agent:\n  id: web-01\n");
    writeFileSync(file, out);
    expect((await holdfast(["validate", file])).code).toBe(0);
    const json = await holdfast(["show", "--json", "--home", base]);
    expect(JSON.parse(json.out)).toMatchObject({ agent: { id: "web-01" }, log: { level: "warn" } });
  });

  test("a broken configuration is not shown but explained", async () => {
    place("web-01", "helth: 1\n");
    const { err, out, code } = await holdfast(["show", "--home", base]);
    expect({ out, code }).toEqual({ out: "", code: 1 });
    expect(err).toStartWith(
      "holdfast: the configuration has 1 problem:\n  agent-web-01/config/agent.yaml:1:1: helth",
    );
  });
});

test("config schema prints a JSON Schema with every section described and no unknown keys allowed", async () => {
  const { out, code } = await holdfast(["schema"]);
  const schema = JSON.parse(out);
  expect(code).toBe(0);
  expect(schema).toMatchObject({
    $schema: "https://json-schema.org/draft/2020-12/schema",
    $id: "urn:holdfast:schema:agent-config",
    additionalProperties: false,
  });
  expect(schema.properties.triggers.items.properties.plugin.description).toBe("Trigger plugin to run");
  expect(schema.properties.rules.items.properties.cooldown.pattern).toBe("^(\\d+(\\.\\d+)?(ms|s|m|h|d))+$");
  expect(schema.properties.rules.items.required).toEqual(["name", "on"]);
});
