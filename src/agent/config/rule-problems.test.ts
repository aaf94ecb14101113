import { expect, test } from "bun:test";
import { configFolder } from "../../testing/config-folder.ts";

const folder = configFolder();

const BASE = `triggers:
  - { name: front, plugin: x }
pipelines:
  restart: { steps: [{ id: a, action: x }] }
rules:
`;
const problemsOf = async (rule: string) => (await folder.load(`${BASE}  - ${rule}\n`)).problems;

test("a rule with all that one may have is fine", async () => {
  const { problems } = await folder.load(`${BASE}  - name: a
    on: [front, manual, "rule:b", "*"]
    type: [x, y]
    when: event.data.n > 1 && event.data.text.matches("^a+$")
    by: event.subject
    window: { over: 1m, compute: avg, of: event.data.n, is: window.value > 2.5 && window.count > 3 }
    debounce: 1s
    throttle: { count: 2, per: 1h }
    cooldown: 5m
    run: restart
    params: { of: "\${{ window.key }}" }
    emit: { type: z, subject: "\${{ event.subject }}", data: { v: "\${{ window.value }}" } }
    finding: { title: "\${{ agent.id }}", key: k, resolved_when: event.type == "y" }
  - name: b
    on: front
    sequence: { within: 1m, steps: [{ type: a }, { when: event.data.n == 1 }] }
    run: restart
  - { name: c, on: front, absence: { for: 1h }, emit: { type: gone } }
`);
  expect(problems).toEqual([]);
});

test.each([
  ["{ name: a, on: front }", "the rule does nothing; expected at least one of run, emit, finding"],
  [
    "{ name: a, on: frnt, run: restart }",
    'on: there is no trigger "frnt"; expected one of front; did you mean "front"?',
  ],
  [
    "{ name: a, on: front, run: restrt }",
    'run: there is no pipeline "restrt"; expected one of restart; did you mean',
  ],
  [
    '{ name: ab, on: "rule:ac", run: restart }',
    'on: there is no rule "ac"; expected one of ab; did you mean "ab"?',
  ],
  [
    "{ name: a, on: front, run: restart, window: { over: 1m, compute: sum, is: window.value > 1 } }",
    "window: sum needs `of`; expected CEL that gives the value of one event",
  ],
  [
    "{ name: a, on: front, run: restart, window: { over: 1m, is: 'true' }, absence: { for: 1m } }",
    "absence, window do not go together",
  ],
  [
    "{ name: a, on: front, run: restart, absence: { for: 1m }, debounce: 1s }",
    "debounce: an absence fires by time already",
  ],
  [
    "{ name: a, on: front, emit: { type: x }, params: { a: 1 } }",
    "params: params are for the pipeline of `run`",
  ],
  ["{ name: a, on: front, run: restart, by: event. }", "by: not a CEL expression"],
  [
    "{ name: a, on: front, run: restart, when: 'event.data.t.matches(\"(\")' }",
    "when: not a CEL condition: bad regular",
  ],
  ["{ name: a, on: front, run: restart, when: steps.a.output == 1 }", "when: steps is not known in a rule"],
  [
    "{ name: a, on: front, run: restart, when: window.count > 1 }",
    "when: window is known only in `window.is`",
  ],
  ["{ name: a, on: front, run: restart, window: { over: 1m, is: window.count } }", null],
  [
    "{ name: a, on: front, run: restart, window: { over: 1m, is: '1' } }",
    "window.is: not a CEL condition: the condition gives int",
  ],
  [
    "{ name: a, on: front, run: restart, sequence: { within: 1m, steps: [{ type: a }, { when: nope }] } }",
    "sequence.steps[1].when: not a CEL condition: Unknown variable: nope",
  ],
  [
    "{ name: a, on: front, emit: { type: x, data: { a: ['${{ 1 + }}'] } } }",
    "emit.data.a[0]: a template that is not CEL",
  ],
  [
    "{ name: a, on: front, finding: { title: '${{ run.id }}' } }",
    "finding.title: run is not known in a rule",
  ],
  [
    "{ name: a, on: front, finding: { title: t, resolved_when: '1 + 1' } }",
    "resolved_when: not a CEL condition: the condition gives int",
  ],
])("%s", async (rule, problem) => {
  const problems = await problemsOf(rule);
  if (problem === null) expect(problems).toEqual([]);
  else {
    expect(problems).toHaveLength(1);
    expect(problems[0]).toStartWith("agent.yaml:6:");
    expect(problems[0]).toContain(`rules[0]`);
    expect(problems[0]).toContain(problem);
  }
});

test("a trigger does not speak for any part of the agent, and rules may listen to all of them", async () => {
  const own = ["manual", "later", "clock", "outputs", "agent", "rule:a", "schedule:a"];
  const triggers = own.map((name) => `{ name: "${name}", plugin: x }`).join(", ");
  const { problems } = await folder.load(`triggers: [${triggers}]\n`);
  expect(problems).toHaveLength(own.length);
  for (const problem of problems) expect(problem).toContain("stands for the events of");
  const rules = own.slice(0, 5).map((name) => `{ name: on ${name}, on: ${name}, emit: { type: x } }`);
  expect((await folder.load(`rules: [${rules.join(", ")}]\n`)).problems).toEqual([]);
});

test("a trigger does not speak for people or rules", async () => {
  const { problems } = await folder.load(
    'triggers: [{ name: manual, plugin: x }, { name: "rule:a", plugin: x }]\n',
  );
  expect(problems).toEqual([
    'agent.yaml:1:20: triggers[0].name: the name "manual" stands for the events of people',
    'agent.yaml:1:49: triggers[1].name: the name "rule:a" stands for the events of rules',
  ]);
});
