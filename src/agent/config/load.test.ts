import { describe, expect, test } from "bun:test";
import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { HoldfastError } from "../../core/errors.ts";
import type { PluginChecks } from "./checks.ts";
import { CHECKS, configFolder, DESIGN_EXAMPLE } from "../../testing/config-folder.ts";
import { loadConfig, requireConfig } from "./load.ts";

const folder = configFolder();

const sourceOf = (loaded: { sources: Map<string, { source: string }> }, path: string) =>
  loaded.sources.get(path)?.source;

test("the example of the design is valid, templates are left alone and defaults are filled in", async () => {
  const loaded = await folder.load(DESIGN_EXAMPLE);
  expect(loaded.problems).toEqual([]);
  const config = requireConfig(loaded.loaded);
  expect(config.pipelines["restart-front"]!.steps[1]!.with.url).toBe("${{ event.data.url }}");
  expect(config.pipelines["restart-front"]!.steps[1]!.timeout).toBe("30s");
  expect(config.hub!.heartbeat).toBe("30s");
});

test("nothing, comments and empty sections are the defaults; a BOM is no harm; a missing file only when required", async () => {
  for (const text of ["", "# nothing\n", "rules:\ntriggers:\nlog:\n", "\ufefflog: {}\n"]) {
    const { config, problems } = await folder.load(text);
    expect(problems).toEqual([]);
    expect(config?.health.listen).toBe("127.0.0.1:9110");
  }
  const missing = { configFile: join(folder.path, "none.yaml"), env: {}, checks: CHECKS };
  expect((await loadConfig(missing)).config?.log.level).toBe("info");
  const error = await loadConfig({ ...missing, required: true }).catch((e: unknown) => e);
  expect((error as HoldfastError).code).toBe("not_found");
});

describe("layers", () => {
  const BASE = `agent: { id: web-01, labels: { role: web } }
triggers:
  - { name: a, plugin: interval, with: { every: 1s } }
  - { name: b, plugin: interval }
rules:
  - { name: r, on: "*", run: p, cooldown: 1m }
pipelines:
  p: { concurrency: 3, steps: [{ id: s, action: exec }] }
  q: { steps: [{ id: s, action: exec }] }
`;

  test("maps merge deep; named items and pipelines are replaced as a whole, removed or added, in the order of names", async () => {
    const loaded = await folder.load(BASE, {
      "20-b.yaml": "agent: { labels: { site: rome } }\nrules: [{ name: r, remove: true }]\n",
      "10-a.yaml": `agent: { labels: { site: berlin, rack: "7" } }
triggers: [{ name: a, plugin: disk }, { name: b, remove: true }, { name: c, plugin: disk }]
pipelines:
  p: { steps: [{ id: t, action: http }] }
  q: { remove: true }
`,
      ".hidden.yaml": "nonsense: 1",
      "notes.txt": "not read",
    });
    expect(loaded.problems).toEqual([]);
    const config = requireConfig(loaded.loaded);
    expect(config.agent.labels).toEqual({ role: "web", site: "rome", rack: "7" });
    expect(config.triggers.map(({ name, plugin, with: settings }) => ({ name, plugin, settings }))).toEqual([
      { name: "a", plugin: "disk", settings: {} },
      { name: "c", plugin: "disk", settings: {} },
    ]);
    expect(config.rules).toEqual([]);
    expect(Object.keys(config.pipelines)).toEqual(["p"]);
    expect(config.pipelines.p).toMatchObject({ concurrency: 16, steps: [{ id: "t" }] });
    expect(sourceOf(loaded, "agent.labels.role")).toBe("agent.yaml:1");
    expect(sourceOf(loaded, "agent.labels.site")).toBe("conf.d/20-b.yaml:1");
    expect(sourceOf(loaded, "triggers[0].plugin")).toBe("conf.d/10-a.yaml:2");
  });

  test("problems name the file that holds the mistake", async () => {
    const { problems } = await folder.load(BASE, {
      "10.yaml": "rules: [{ name: r, on: aa, run: pp }]\n",
      "20.yaml": "triggers: [{ name: aa, remove: true }]\n",
      "30.yml": "",
    });
    expect(problems).toEqual([
      "conf.d/30.yml: only *.yaml is read here: rename the file, or move it away",
      'conf.d/20.yaml:1:12: triggers[0]: there is no "aa" in an earlier file to remove; did you mean "a"?',
    ]);
    rmSync(join(folder.path, "conf.d"), { recursive: true });
    expect(
      (await folder.load(BASE, { "10.yaml": "rules: [{ name: r, on: aa, run: pp }]\n" })).problems,
    ).toEqual([
      'conf.d/10.yaml:1:24: rules[0].on: there is no trigger "aa"; expected one of a, b; did you mean "a"?',
      'conf.d/10.yaml:1:33: rules[0].run: there is no pipeline "pp"; expected one of p, q; did you mean "p"?',
    ]);
  });
});

describe("variables", () => {
  const load1 = (text: string, env: Record<string, string>) => folder.load(text, {}, { env });

  test("are expanded in text, with defaults and escapes; numbers where the schema wants them", async () => {
    const { config, problems } = await load1(
      `agent:
  labels: { a: "x\${A}y", b: "\${B:-none}", c: "$\${A}", d: "\${EMPTY:-d}", e: "\${N}" }
limits:
  steps: \${N}
triggers: [{ name: t, plugin: disk, enabled: "\${ON}", with: { n: "\${N}" } }]
`,
      { A: "1", N: "7", EMPTY: "", ON: "false" },
    );
    expect(problems).toEqual([]);
    expect(config!.agent.labels).toEqual({ a: "x1y", b: "none", c: "${A}", d: "d", e: "7" });
    expect(config!.limits.steps).toBe(7);
    expect(config!.triggers[0]).toMatchObject({ enabled: false, with: { n: "7" } });
  });

  test("that are not set, or none at all, are errors with their place", async () => {
    const { problems } = await load1(`agent:\n  id: \${NOPE}\n  labels: { a: "\${1x}" }\n`, {});
    expect(problems).toEqual([
      "agent.yaml:2:7: agent.id: the variable NOPE is not set: set it, or write ${NOPE:-default}",
      "agent.yaml:3:16: agent.labels.a: ${1x} is not a variable: write ${NAME} or ${NAME:-default}, and $${ for a plain ${",
    ]);
  });

  test("what they hold is never in a problem", async () => {
    const { problems } = await load1(
      `hub:\n  url: \${MY_URL}\n  \nlimits: { steps: "\${API_TOKEN}" }\nlog: { level: "\${LEVEL}" }\n`,
      { MY_URL: "hunter2://", API_TOKEN: "hunter2", LEVEL: "hunter2" },
    );
    expect(problems).toEqual([
      'agent.yaml:2:8: hub.url: invalid value; expected grpcs://host:port; found "${MY_URL}"',
      "agent.yaml:4:18: limits.steps: wrong type; expected a whole number; found ***",
      'agent.yaml:5:15: log.level: invalid value; expected one of debug, info, warn, error; found "${LEVEL}"',
    ]);
  });
});

describe("overrides", () => {
  test("flag over environment over file over default, each with its source", async () => {
    const loaded = await folder.load(
      "agent: { id: web-01 }\nlog: { level: warn, max_files: 2 }\nlimits: { steps: 5 }\n",
      {},
      {
        env: { HOLDFAST__LOG__LEVEL: "error", HOLDFAST__LOG__MAX_FILES: "3", HOLDFAST_HUB_URL: "not ours" },
        flags: { "log.level": "debug", id: "web-02", "health.listen": undefined },
      },
    );
    expect(loaded.problems).toEqual([]);
    expect(loaded.config).toMatchObject({
      agent: { id: "web-02" },
      log: { level: "debug", max_files: 3, max_size: "100MB" },
      limits: { steps: 5 },
    });
    const paths = ["agent.id", "log.level", "log.max_files", "limits.steps", "log.max_size"];
    expect(paths.map((path) => sourceOf(loaded, path))).toEqual([
      "--id",
      "--log-level",
      "HOLDFAST__LOG__MAX_FILES",
      "agent.yaml:3",
      "default",
    ]);
  });

  test("reach every key: whole sections, labels as they are written, named items; text stays text", async () => {
    const { config, problems } = await folder.load(
      `${DESIGN_EXAMPLE.replace("role: web", "Role: web")}`,
      {},
      {
        env: {
          HOLDFAST__AGENT__LABELS__ROLE: "5",
          holdfast__agent__labels__rack: "r",
          HOLDFAST__PIPELINES__RESTART_FRONT__CONCURRENCY: "4",
          HOLDFAST__PIPELINES__RESTART_FRONT__STEPS__CHECK__TIMEOUT: "5s",
          HOLDFAST__TRIGGERS__FRONT__WITH: "{ url: x, failures: 4 }",
          HOLDFAST__RULES__RESTART_THE_FRONT_WHEN_IT_IS_DOWN__ON: "[front]",
          HOLDFAST__OUTPUTS: "[]",
        },
      },
    );
    expect(problems).toEqual([]);
    expect(config!.agent.labels).toEqual({ Role: "5", site: "berlin", rack: "r" });
    expect(config!.pipelines["restart-front"]).toMatchObject({ concurrency: 4, namespace: "web" });
    expect(config!.pipelines["restart-front"]!.steps.map((step) => step.timeout)).toEqual(["30s", "5s"]);
    expect(config!.triggers[0]!.with).toEqual({ url: "x", failures: 4 });
    expect(config!.rules[0]!.on).toEqual(["front"]);
    expect(config!.outputs).toEqual([]);
  });

  test("that are wrong are named", async () => {
    const { problems } = await folder.load(
      DESIGN_EXAMPLE,
      {},
      {
        env: {
          HOLDFAST__HELTH__LISTEN: "x",
          HOLDFAST__LIMITS__STEPS: "many",
          HOLDFAST__TRIGGERS__FRNT__ENABLED: "true",
          HOLDFAST__RULES: "[a",
          HOLDFAST____X: "1",
        },
        flags: { "log.level": "loud", id: "x" },
      },
    );
    expect(problems.join("\n")).toMatchInlineSnapshot(`
      "environment: rules: HOLDFAST__RULES: not valid YAML: Flow sequence must end with a ]
      environment: triggers: HOLDFAST__TRIGGERS__FRNT__ENABLED: there is no item called "frnt"; did you mean "front"?
      environment: HOLDFAST____X: an empty name between two double underscores
      environment: helth: unknown key "helth" (HOLDFAST__HELTH__LISTEN); expected one of agent, hub, health, log, limits, history, sync, params, triggers, rules, pipelines, schedules, maintenance, outputs; did you mean "health"?
      command line: agent.id: invalid value (--id); expected 3 to 64 letters, digits, _ and -, starting with a letter or digit; found "x"
      command line: log.level: invalid value (--log-level); expected one of debug, info, warn, error; found "loud"
      environment: limits.steps: wrong type (HOLDFAST__LIMITS__STEPS); expected a whole number; found "many""
    `);
  });

  test("are not looked at for a file that is checked on its own", async () => {
    const env = { HOLDFAST__LOG__LEVEL: "nonsense" };
    expect((await folder.load("", {}, { env, overrides: false })).problems).toEqual([]);
  });
});

describe("plugins", () => {
  const plugins: PluginChecks = {
    known: (kind) => ({ trigger: ["file-tail", "disk"], action: ["exec"], output: [] })[kind],
    settingsProblems: async (_kind, name, settings) => [
      ...(name === "disk" && !("below" in settings)
        ? [{ path: ["below"], message: "below is missing" }]
        : []),
      ...("pth" in settings
        ? [{ path: ["pth"], message: 'unknown key "pth"', known: ["path", "below"] }]
        : []),
      ...("token" in settings
        ? [{ path: ["token"], message: `bad ${settings.token}`, actual: `${settings.token}` }]
        : []),
      ...("count" in settings
        ? [{ path: ["count"], message: "wrong type", expected: "number", actual: "string" }]
        : []),
    ],
  };

  test("unknown names and settings that a plugin refuses have their place; templates and secrets are left alone", async () => {
    const { problems } = await folder.load(
      `triggers:
  - name: a
    plugin: file-tial
  - name: b
    plugin: disk
    with:
      pth: /
      token: hunter2
pipelines:
  p:
    steps:
      - id: s
        action: exec
        with: { count: "\${{ event.data.n }}" }
      - id: t
        action: exec
        with: { count: x }
outputs:
  - { name: o, plugin: file }
`,
      {},
      { checks: { ...CHECKS, plugins } },
    );
    expect(problems).toEqual([
      'agent.yaml:3:13: triggers[0].plugin: there is no trigger plugin "file-tial"; expected one of disk, file-tail; did you mean "file-tail"?',
      "agent.yaml:6:5: triggers[1].with.below: below is missing",
      'agent.yaml:7:7: triggers[1].with.pth: unknown key "pth"; expected one of below, path; did you mean "path"?',
      "agent.yaml:8:14: triggers[1].with.token: the trigger disk does not accept this value; found ***",
      'agent.yaml:17:24: pipelines.p.steps[1].with.count: wrong type; expected number; found "x"',
      'agent.yaml:19:24: outputs[0].plugin: there is no output plugin "file"; expected an installed plugin; there is none',
    ]);
  });
});

test("requireConfig throws every problem, one a line", async () => {
  writeFileSync(join(folder.path, "agent.yaml"), "helth: 1\nlog: { level: loud }\n");
  const loaded = await loadConfig({ configFile: join(folder.path, "agent.yaml"), env: {}, checks: CHECKS });
  expect(() => requireConfig(loaded)).toThrow(
    `the configuration has 2 problems:\n  ${folder.path}/agent.yaml:1:1: helth: unknown key`,
  );
  expect(() => requireConfig(loaded)).toThrow(`\n  ${folder.path}/agent.yaml:2:15: log.level: invalid value`);
});
