import { describe, expect, test } from "bun:test";
import { CHECKS, configFolder } from "../../testing/config-folder.ts";
import type { PluginChecks } from "./checks.ts";

const folder = configFolder();

/** Problems of a pipeline `p` with these lines, without file, line and the way to the pipeline. */
async function problemsOf(lines: string, more = ""): Promise<string[]> {
  const { problems } = await folder.load(`pipelines:\n  p:\n${lines.replace(/^/gm, "    ")}\n${more}`);
  return problems.map((problem) => problem.replace(/^agent\.yaml:\d+:\d+: (pipelines\.p\.)?/, ""));
}

describe("steps", () => {
  test("a step is exactly one thing, and has only what goes with it", async () => {
    const found = await problemsOf(`steps:
  - { id: a }
  - { id: b, action: x, pipeline: q }
  - { id: c, approval: { text: now?, approvers: ["*", "local:0", "user:bob", bob] }, retry: { attempts: 2 }, undo: { action: x } }
  - { id: d, pipeline: q, timeout: 5s, undo: { action: x } }
on_failure:
  - { id: e, action: x, undo: { action: x } }
finally:
  - { id: a, action: x, needs: [b] }
`);
    expect(found.toSorted()).toEqual(
      [
        "steps[0]: the step does nothing; expected one of action, pipeline, approval",
        "steps[1].pipeline: a step is one thing, and this one has action and pipeline",
        'steps[1].pipeline: there is no pipeline "q"; expected one of p',
        "steps[2].retry: retry is for actions, not for a step with approval: a person answers it once, within `approval.timeout`",
        "steps[2].undo: an approval does nothing that could be undone",
        'steps[2].approval.approvers[3]: not an approver; expected user:NAME, local:UID or *; found "bob"',
        "steps[3].timeout: timeout is for actions, not for a step with pipeline: its own steps have theirs",
        'steps[3].pipeline: there is no pipeline "q"; expected one of p',
        'finally[0].id: the id "a" is taken already in this pipeline',
        "finally[0].needs: steps of finally run one after the other: they have no needs",
        "on_failure[0].undo: steps of on_failure are not undone: only those of steps are",
      ].toSorted(),
    );
  });

  test("pipelines that run themselves, once for each circle", async () => {
    const { problems } = await folder.load(`pipelines:
  a: { steps: [{ id: s, pipeline: b }] }
  b: { steps: [{ id: s, action: x }], finally: [{ id: t, pipeline: c }] }
  c: { steps: [{ id: s, pipeline: a }] }
  d: { steps: [{ id: s, pipeline: d }] }
  e: { steps: [{ id: s, pipeline: a }] }
`);
    expect(problems).toEqual([
      "agent.yaml:2:35: pipelines.a.steps[0].pipeline: the pipeline would run itself without an end: a → b → c → a",
      "agent.yaml:5:35: pipelines.d.steps[0].pipeline: the pipeline would run itself without an end: d → d",
    ]);
  });
});

describe("expressions", () => {
  test("steps that are not there, or need not have run", async () => {
    const found = await problemsOf(`output: { x: "\${{ steps.last.output }}", y: "\${{ steps.tell.output }}" }
concurrency_by_key: { key: "\${{ steps.first.output }}" }
steps:
  - { id: first, action: x }
  - { id: second, action: x, needs: [first], when: steps.first.output == 1 && steps.frist.state == "x" }
  - { id: last, action: x, needs: [second], with: { a: ["\${{ steps.first.output }} \${{ steps.other.output }}"] } }
  - { id: other, action: x, with: { a: "\${{ steps['last'].output }}" }, undo: { action: x, with: { b: "\${{ steps.last.output }}" } } }
finally:
  - { id: clean, action: x, with: { a: "\${{ steps.sweep.state }}", b: "\${{ steps.tell.state }}" } }
  - { id: sweep, action: x, with: { a: "\${{ steps.clean.state }}", b: "\${{ failure.step }}" } }
on_failure:
  - { id: tell, action: x, with: { a: "\${{ steps.other.state }} \${{ steps.clean.state }}" } }
`);
    expect(found).toEqual([
      'output.y: step "tell" need not have run here: it is not among what this step needs',
      "concurrency_by_key.key: no step has run here yet: steps is empty",
      'steps[1].when: there is no step "frist"; expected one of first; did you mean "first"?',
      'steps[2].with.a[0]: step "other" need not have run here: it is not among what this step needs',
      'steps[3].with.a: step "last" need not have run here: it is not among what this step needs',
      'finally[0].with.b: step "tell" need not have run here: it is not among what this step needs',
      'finally[1].with.a: step "clean" need not have run here: it is not among what this step needs',
    ]);
  });

  test("names that have no meaning there", async () => {
    const found = await problemsOf(`params: { unit: {}, hosts: { type: list } }
steps:
  - { id: a, action: x, foreach: params.hosts, with: { h: "\${{ item.value }}", u: "\${{ params.unti }}" } }
  - { id: b, action: x, when: item.index > 1, with: { h: "\${{ params.hosts.map(item, item + 'x') }}", f: "\${{ failure.step }}" } }
  - { id: c, action: x, foreach: { in: "params.hosts.size() > 1" }, with: { w: "\${{ window.value }}" } }
`);
    expect(found).toEqual([
      'steps[0].with.u: the pipeline declares no parameter "unti"; expected one of agent_id, arch, hostname, hosts, os, unit; did you mean "unit"?',
      "steps[1].when: item is known only in `with` and `undo` of a step with foreach",
      "steps[1].with.f: failure is known only in undo, finally and on_failure",
      "steps[2].foreach.in: not a CEL list: the expression gives bool, not a list",
      "steps[2].with.w: window is known only in a rule's window",
    ]);
  });

  test("a template without an end, and a breaker that nothing names a destination for", async () => {
    const found = await problemsOf(`steps:
  - { id: a, action: x, with: { to: "\${{ params.a" }, breaker: { failures: 2 } }
  - { id: b, action: x, with: { url: "http://a.example" }, breaker: { failures: 2 } }
`);
    expect(found).toEqual([
      "steps[0].with.to: a template that is not CEL: it has no }} at its end",
      "steps[0].breaker: the breaker of a step without a url needs a destination; expected a text to count by, like destination: https://api.example",
    ]);
  });

  test("CEL that does not compile, would cost too much, or holds a bad pattern, wherever it stands", async () => {
    const found = await problemsOf(`exclusive: { lock: "\${{ 1 + }}" }
output: { x: "\${{ ) }}" }
steps:
  - { id: a, action: x, when: params.a + 1 == }
  - { id: b, action: x, foreach: "params.a.map(x, x.map(y, y.map(z, z)))" }
  - { id: c, action: x, when: 'params.a.matches("(a")', breaker: { destination: "\${{ nope }}" } }
  - { id: d, approval: { text: "\${{ params. }}" } }
`);
    expect(found.map((problem) => problem.split(":")[0])).toEqual([
      "exclusive.lock",
      "output.x",
      "steps[0].when",
      "steps[1].foreach",
      "steps[2].when",
      "steps[2].breaker.destination",
      "steps[3].approval.text",
    ]);
    expect(found[3]).toContain("list functions are nested 3 deep");
    expect(found[4]).toContain("bad regular expression");
  });
});

test("parameters: declarations that cannot work, and what rules and steps give", async () => {
  const found = await problemsOf(
    `params:
  unit: { pattern: "[a-z]+" }
  count: { type: int, default: many }
  mode: { choices: [stop, start], pattern: "(" }
  note: { required: false }
steps: [{ id: a, action: x }]
`,
    `  q:
    steps:
      - { id: a, pipeline: p, with: { unit: web, mode: "\${{ params.mode }}", count: 1 } }
      - { id: b, pipeline: p, with: { unti: web, mode: halt, count: "3" } }
rules:
  - { name: r, on: "*", run: p, params: { unit: WEB } }
`,
  );
  expect(found.toSorted()).toEqual(
    [
      "params.count.default: 'many' is not a whole number, which parameter 'count' must be",
      "params.mode.pattern: bad regular expression: error parsing regexp: missing closing ): `(`",
      "rules[0].params.unit: 'WEB' doesn't match the pattern for parameter 'unit': [a-z]+",
      "rules[0].run: the pipeline p needs the parameter 'mode'",
      "pipelines.q.steps[1].pipeline: the pipeline p needs the parameter 'unit'",
      'pipelines.q.steps[1].with.unti: the pipeline p has no parameter "unti"; expected one of count, mode, note, unit; did you mean "unit"?',
      "pipelines.q.steps[1].with.mode: 'halt' is not a choice for parameter 'mode': one of stop, start",
      "pipelines.q.steps[1].with.count: '3' is not a whole number, which parameter 'count' must be",
    ].toSorted(),
  );
});

test("actions of every part are known, and literals of their inputs fit; templates are left to the run", async () => {
  const plugins: PluginChecks = {
    known: () => ["http"],
    settingsProblems: (_kind, _name, settings) =>
      Object.entries(settings)
        .filter(([, value]) => typeof value !== "number")
        .map(([key, value]) => ({ path: [key], message: "not a number", actual: String(value) })),
  };
  const { problems } = await folder.load(
    `pipelines:
  p:
    steps:
      - { id: a, action: http, with: { x: one }, undo: { action: htpp } }
      - { id: b, action: http, with: { x: "\${{ params.x }}" }, undo: { action: http, with: { y: two } } }
      - { id: c, approval: { text: now? } }
    finally: [{ id: f, action: nope }]
`,
    {},
    { checks: { ...CHECKS, plugins } },
  );
  expect(problems.map((problem) => problem.split(": ").slice(1, 3).join(": "))).toEqual([
    'pipelines.p.steps[0].with.x: not a number; found "one"',
    'pipelines.p.steps[0].undo.action: there is no action plugin "htpp"; expected one of http; did you mean "http"?',
    'pipelines.p.steps[1].undo.with.y: not a number; found "two"',
    'pipelines.p.finally[0].action: there is no action plugin "nope"; expected one of http',
  ]);
});
