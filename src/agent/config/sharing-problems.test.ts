import { expect, test } from "bun:test";
import { configFolder } from "../../testing/config-folder.ts";

const folder = configFolder();

async function problemsOf(text: string): Promise<string[]> {
  const { problems } = await folder.load(text);
  return problems.map((problem) => problem.replace(/^agent\.yaml:\d+:\d+: /, ""));
}

test("namespaces: bad names, and the one that is the agent's own", async () => {
  const found = await problemsOf(`
pipelines:
  p: { namespace: holdfast, steps: [{ id: a, action: x }] }
  q: { namespace: "a b", steps: [{ id: a, action: x }] }
rules: [{ name: r, on: manual, namespace: holdfast, run: p }]
params: { namespaces: { holdfast: { a: 1 } } }
`);
  expect(found.filter((each) => each.includes("another namespace"))).toHaveLength(3);
  expect(found.some((each) => each.startsWith("pipelines.q.namespace"))).toBe(true);
});

test("where memory and secrets are known", async () => {
  const found = await problemsOf(`
pipelines:
  p:
    exclusive: { lock: "\${{ memory.a }}" }
    output: { x: "\${{ secrets.A }}" }
    steps:
      - { id: a, action: x, when: secrets.A == "", with: { ok: "\${{ secrets.A }} \${{ memory.a }}", bad: "\${{ secrets[params.n] }}" }, undo: { action: x, with: { ok: "\${{ secrets.A }}" } } }
      - { id: b, needs: [a], pipeline: q, with: { a: "\${{ secrets.A }}" } }
      - { id: c, approval: { text: "\${{ secrets.A }}" } }
  q: { steps: [{ id: a, action: x }] }
rules:
  - { name: r, on: manual, when: memory.a == 1, run: q, params: { a: "\${{ secrets.A }}", b: "\${{ memory.b }}" } }
`);
  const nothingElse =
    "secrets are known only in `with` of an action and of its undo: nothing else may hold one";
  expect(found.toSorted()).toEqual(
    [
      "pipelines.p.exclusive.lock: memory is known only in steps",
      `pipelines.p.output.x: ${nothingElse}`,
      `pipelines.p.steps[0].when: ${nothingElse}`,
      "pipelines.p.steps[0].with.bad: a secret is named where it is used, like secrets.API_TOKEN: a name cannot be computed",
      `pipelines.p.steps[1].with.a: ${nothingElse}`,
      `pipelines.p.steps[2].approval.text: ${nothingElse}`,
      "rules[0].params.a: secrets is not known in a rule: it belongs to a run; expected event, window, memory or agent",
    ].toSorted(),
  );
});

test("parameters of the configuration count as given, and as known", async () => {
  const pipelines = `
pipelines:
  p: { namespace: web, params: { unit: {} }, steps: [{ id: a, action: x, with: { a: "\${{ params.unit }} \${{ params.region }} \${{ params.hostname }} \${{ params.nope }}" } }] }
rules: [{ name: r, on: manual, run: p }]
`;
  const nope = (known: string) =>
    `pipelines.p.steps[0].with.a: the pipeline declares no parameter "nope"; expected one of ${known}`;
  expect(
    await problemsOf(`${pipelines}params: { global: { region: eu }, namespaces: { web: { unit: u } } }\n`),
  ).toEqual([nope("agent_id, arch, hostname, os, region, unit")]);
  expect(
    await problemsOf(`${pipelines}params: { global: { region: eu }, namespaces: { db: { unit: u } } }\n`),
  ).toEqual([
    nope("agent_id, arch, hostname, os, region, unit"),
    "rules[0].run: the pipeline p needs the parameter 'unit'",
  ]);
});
