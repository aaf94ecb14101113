import { describe, expect, test } from "bun:test";
import { rmSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { formatProblem } from "../../model/config-problem.ts";
import { CHECKS, configFolder, type Text } from "../../testing/config-folder.ts";
import { loadConfig } from "./load.ts";

const folder = configFolder();

test("all problems of a file at once, each with place, path, what was expected and the nearest name", async () => {
  const { config, problems } = await folder.load(`helth: 1
health: {listen: 5}
hub: {url: x, heartbeat: 5s, foo: 1, bar: 2}
agent: {id: a, labels: {a: 1, "b c": x}}
log: {level: inf, max_fles: 3}
limits: {steps: 0, event_size: 5 MB}
triggers:
  - name: front
    plugn: http
  - name: front
    plugin: x
    with: {a: "\${{ x }}"}
rules:
  - name: a
    on: [1, frnt]
    runn: b
    when: event.type ==
  - name: b
    on: 3
    run: restrt
    when: foo.bar
    params: {a: ["\${{ 1 + }}"]}
  - on: "*"
    run: restart
pipelines:
  "bad name": {steps: []}
  restart:
    steps:
      - {id: a, action: x, effect: idempotnt, needs: [b], retry: {attempts: 0}}
      - {id: b, action: x, needs: [a, q], timeout: 5}
      - {id: b, action: x, on: 4}
    on_failure:
      - {id: c, action: x, needs: [d]}
      - {id: d, action: x, needs: [c]}
outputs: x
`);
  expect(config).toBeNull();
  expect(problems.join("\n")).toMatchInlineSnapshot(`
    "agent.yaml:1:1: helth: unknown key "helth"; expected one of agent, hub, health, log, limits, history, sync, params, triggers, rules, pipelines, schedules, maintenance, outputs; did you mean "health"?
    agent.yaml:2:18: health.listen: wrong type; expected an address and a port, like 127.0.0.1:9110; found 5
    agent.yaml:3:12: hub.url: invalid value; expected grpcs://host:port; found "x"
    agent.yaml:3:26: hub.heartbeat: invalid value; expected 10s to 10m; found "5s"
    agent.yaml:3:30: hub.foo: unknown key "foo"; expected one of url, heartbeat, mqtt, failover_after
    agent.yaml:3:38: hub.bar: unknown key "bar"; expected one of url, heartbeat, mqtt, failover_after
    agent.yaml:4:13: agent.id: invalid value; expected 3 to 64 letters, digits, _ and -, starting with a letter or digit; found "a"
    agent.yaml:4:28: agent.labels.a: wrong type; expected text; found 1
    agent.yaml:4:31: agent.labels["b c"]: invalid name "b c"; expected a label name
    agent.yaml:5:14: log.level: invalid value; expected one of debug, info, warn, error; found "inf"; did you mean "info"?
    agent.yaml:5:19: log.max_fles: unknown key "max_fles"; expected one of level, max_size, max_files; did you mean "max_files"?
    agent.yaml:6:17: limits.steps: invalid value; expected at least 1; found 0
    agent.yaml:6:32: limits.event_size: invalid value; expected a size: a number and a unit, like 64KB, 100MB; found "5 MB"
    agent.yaml:9:5: triggers[0].plugn: unknown key "plugn"; expected one of name, plugin, enabled, with; did you mean "plugin"?
    agent.yaml:10:11: triggers[1].name: the name "front" is taken already at line 8
    agent.yaml:12:15: triggers[1].with.a: templates are filled in only in steps and in what rules do
    agent.yaml:14:5: rules[0]: the rule does nothing; expected at least one of run, emit, finding
    agent.yaml:15:10: rules[0].on[0]: wrong type; expected text; found 1
    agent.yaml:15:13: rules[0].on[1]: there is no trigger "frnt"; expected one of front; did you mean "front"?
    agent.yaml:16:5: rules[0].runn: unknown key "runn"; expected one of name, enabled, namespace, priority, on, type, when, by, window, sequence, absence, debounce, throttle, cooldown, run, params, emit, finding; did you mean "run"?
    agent.yaml:17:11: rules[0].when: not a CEL condition: Unexpected token: EOF (at character 14 of "event.type ==")
    agent.yaml:19:9: rules[1].on: wrong type; expected text or a list of texts; found 3
    agent.yaml:20:10: rules[1].run: there is no pipeline "restrt"; expected one of bad name, restart; did you mean "restart"?
    agent.yaml:21:11: rules[1].when: not a CEL condition: Unknown variable: foo (at character 1 of "foo.bar")
    agent.yaml:22:18: rules[1].params.a[0]: a template that is not CEL: Unexpected token: EOF (at character 4 of "1 +")
    agent.yaml:23:5: rules[2].name: the key "name" is missing; expected text
    agent.yaml:26:3: pipelines["bad name"]: invalid name "bad name"; expected a name: letters, digits and _ . : -, at most 128
    agent.yaml:26:23: pipelines["bad name"].steps: invalid value; expected at least 1 item; found 0
    agent.yaml:29:36: pipelines.restart.steps[0].effect: invalid value; expected one of idempotent, at-most-once, ask; found "idempotnt"; did you mean "idempotent"?
    agent.yaml:29:77: pipelines.restart.steps[0].retry.attempts: invalid value; expected at least 1; found 0
    agent.yaml:30:39: pipelines.restart.steps[1].needs[1]: there is no step "q"; expected one of a, b
    agent.yaml:30:52: pipelines.restart.steps[1].timeout: wrong type; expected a duration: a number and a unit, like 250ms, 30s, 5m, 1h; found 5
    agent.yaml:31:14: pipelines.restart.steps[2].id: the id "b" is taken already in this pipeline
    agent.yaml:31:28: pipelines.restart.steps[2].on: unknown key "on"; expected one of id, action, pipeline, approval, needs, when, foreach, with, timeout, deadline, retry, effect, undo, exclusive, breaker
    agent.yaml:33:28: pipelines.restart.on_failure[0].needs: steps of on_failure run one after the other: they have no needs
    agent.yaml:34:28: pipelines.restart.on_failure[1].needs: steps of on_failure run one after the other: they have no needs
    agent.yaml:35:10: outputs: wrong type; expected a list; found "x""
  `);
});

describe("a file that is no configuration gets one clear error", () => {
  const bomb = ["agent: &a [x,x,x,x,x,x,x,x,x]"];
  for (const [name, before] of ["ba", "cb", "dc", "ed"].map((pair) => [pair[0], pair[1]]))
    bomb.push(`${name}: &${name} [${Array(9).fill(`*${before}`).join(",")}]`);
  const cases: [string, Text, string][] = [
    [
      "tabs",
      "log:\n\tlevel: info\n\tmax_files: 3\n",
      "agent.yaml:2:1: a tab in the indentation: YAML wants spaces",
    ],
    [
      "duplicate keys",
      "log: {}\nhub: {}\nlog: {}\n",
      'agent.yaml:3:1: log: duplicate key "log": it is there already at line 1',
    ],
    [
      "duplicate keys deeper",
      "log:\n  level: info\n  level: warn\n",
      'agent.yaml:3:3: log.level: duplicate key "level": it is there already at line 2',
    ],
    [
      "two documents",
      "log: {}\n---\nhub: {}\n",
      "agent.yaml:2:1: a second document begins here (---): a configuration file holds one",
    ],
    [
      "a list",
      "- a\n",
      "agent.yaml:1:1: the document is not a map; expected keys like agent, triggers, rules, pipelines; found a list",
    ],
    [
      "a text",
      "hello\n",
      "agent.yaml:1:1: the document is not a map; expected keys like agent, triggers, rules, pipelines; found a single value",
    ],
    ["a YAML bomb", bomb.join("\n"), "blow the document up to more than 10000 values"],
    [
      "an endless alias",
      "agent: &a [*a]",
      "agent.yaml:1:12: agent[0]: the alias *a lies inside of its own anchor",
    ],
    ["an alias of nothing", "agent: *x", "agent.yaml:1:8: agent: the alias *x has no anchor &x before it"],
    ["deep nesting", `agent: ${"[".repeat(60)}${"]".repeat(60)}`, "nested more than 50 levels deep"],
    ["very deep nesting", "[".repeat(20_000), "nested more than 50 levels deep"],
    [
      "not closed",
      "log: [1, 2\nhub: 3",
      "agent.yaml:2:1: not valid YAML: Flow sequence in block collection must be sufficiently indented and end with a ]",
    ],
    ["a tag", "log: !foo 1", "agent.yaml:1:6: Unresolved tag: !foo: tags are not used in a configuration"],
    [
      "a colon",
      "rules:\n  - when: a: b\n",
      'agent.yaml:2:11: Nested mappings are not allowed in compact mappings; quote a value that holds ": "',
    ],
    [
      "a variable in braces",
      "hub: {url: ${HUB}}",
      'agent.yaml:1:13: inside of { } and [ ] a variable needs quotes: "${NAME}"',
    ],
    [
      "a huge number",
      "agent: {id: 12345678901234567890}",
      "agent.yaml:1:13: agent.id: the number is too large to be kept exactly: put it in quotes",
    ],
    [
      "a merge key",
      "agent: {<<: {id: abc}}",
      "agent.yaml:1:9: agent: merge keys (<<) are not part of YAML 1.2: write the keys out",
    ],
    ["__proto__", "__proto__: 1", "agent.yaml:1:1: the key __proto__ is not allowed"],
    ["a list as key", "? [a]\n: 1", "agent.yaml:1:3: a key must be plain text"],
    [
      "10 MB",
      "x".repeat(10 * 1024 ** 2),
      "agent.yaml: the file is too large; expected at most 1048576 bytes (1 MB); found 10485760 bytes (10.0 MB)",
    ],
    [
      "a NUL byte",
      "log: {}\nhub: \0",
      "agent.yaml:2:6: a NUL byte at byte offset 13: this is not a text file in UTF-8",
    ],
    [
      "UTF-16",
      new Uint8Array([0xff, 0xfe, 0x61, 0]),
      "agent.yaml:1:1: wrong encoding: save the file as UTF-8; expected UTF-8; found UTF-16 LE (by its byte order mark)",
    ],
    [
      "Latin-1",
      Buffer.from("agent:\n  labels: {a: \u00e9}\n", "latin1"),
      "agent.yaml:2:15: wrong encoding: save the file as UTF-8; expected UTF-8; found byte 0xe9 at offset 21",
    ],
  ];
  test.each(cases)("%s", async (_name, text, message) => {
    const { config, problems } = await folder.load(text);
    expect(config).toBeNull();
    expect(problems.join("\n")).toContain(message);
    expect(problems.length).toBeLessThanOrEqual(2);
  });

  test("a large file of nonsense takes no longer than a moment and no more than 200 problems", async () => {
    const keys = Array.from({ length: 20_000 }, (_, index) => `k${index}: 1`).join("\n");
    const { problems } = await folder.load(keys);
    expect(problems.length).toBe(201);
    expect(problems.at(-1)).toBe("agent.yaml: and 19800 more problems");
  });

  test("a device without an end is not read to its end, a folder is called one", async () => {
    for (const [target, message] of [
      ["/dev/zero", "the file is too large"],
      ["/tmp", "it is a folder, not a file"],
    ] as const) {
      const file = join(folder.path, "link.yaml");
      rmSync(file, { force: true });
      symlinkSync(target, file);
      const { problems } = await loadConfig({ configFile: file, required: true, env: {}, checks: CHECKS });
      expect(problems.map(formatProblem).join()).toContain(message);
    }
  });
});

test("steps that wait for each other, and the order of on_failure", async () => {
  const { problems } = await folder.load(`pipelines:
  p:
    steps:
      - { id: a, action: x, needs: [c] }
      - { id: b, action: x, needs: [a] }
      - { id: c, action: x, needs: [b] }
      - { id: d, action: x, needs: [c] }
    on_failure:
      - { id: tell, action: x, needs: [mend] }
      - { id: mend, action: x, needs: [tell, a] }
`);
  expect(problems).toEqual([
    "agent.yaml:4:36: pipelines.p.steps[0].needs: these steps never start, because they wait for each other in a circle: a, b, c, d",
    "agent.yaml:9:32: pipelines.p.on_failure[0].needs: steps of on_failure run one after the other: they have no needs",
    "agent.yaml:10:32: pipelines.p.on_failure[1].needs: steps of on_failure run one after the other: they have no needs",
  ]);
});

test.each([
  ["127.0.0.1:0", null],
  ["'[::1]:9110'", null],
  ["localhost:1", null],
  ["0.0.0.0:9110", "the health port must not be reachable from outside"],
  ["127.0.0.1:99999", "is not an address to listen on"],
  ["nonsense", "expected an address and a port"],
])("health.listen %s", async (listen, message) => {
  const { problems } = await folder.load(`health:\n  listen: ${listen}\n`);
  if (message === null) expect(problems).toEqual([]);
  else {
    expect(problems).toHaveLength(1);
    expect(problems[0]).toStartWith("agent.yaml:2:11: health.listen: ");
    expect(problems[0]).toContain(message);
  }
});
