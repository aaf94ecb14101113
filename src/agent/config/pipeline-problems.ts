import { stepsOnCycles } from "../../model/pipeline.ts";
import { checkKnown } from "./known-names.ts";
import { child, type ConfigNode, itemsOf, textOf } from "./node.ts";
import { type PipelineNode, pipelinesOf, type StepNode } from "./pipeline-steps.ts";
import type { Report } from "./report.ts";

const WORKS = ["action", "pipeline", "approval"] as const;
/** Keys that only make sense where attempts of an action are made. */
const OF_ATTEMPTS = ["timeout", "retry", "effect", "breaker"] as const;

/** What a schema cannot say of pipelines: ids, needs, cycles, and what goes together in a step. */
export function checkPipelines(root: ConfigNode, report: Report): void {
  const pipelines = pipelinesOf(root);
  const names = pipelines.map(({ name }) => name);
  for (const pipeline of pipelines) {
    checkIds(pipeline, report);
    checkGraph(pipeline, report);
    for (const step of pipeline.steps) checkStep(step, names, report);
  }
  checkRecursion(pipelines, report);
}

function checkIds({ steps }: PipelineNode, report: Report): void {
  const seen = new Set<string>();
  for (const { id, path } of steps) {
    if (id === undefined) continue;
    if (seen.has(id)) {
      report.value([...path, "id"], `the id ${JSON.stringify(id)} is taken already in this pipeline`);
    }
    seen.add(id);
  }
}

function checkGraph({ steps }: PipelineNode, report: Report): void {
  const graph = steps.filter(({ part, id }) => part === "steps" && id !== undefined);
  const ids = graph.map(({ id }) => id!);
  for (const step of steps) {
    if (step.part === "steps") checkNeeds(step, ids, report);
    else if (child(step.node, "needs") !== undefined) {
      report.key(
        [...step.path, "needs"],
        `steps of ${step.part} run one after the other: they have no needs`,
      );
    }
  }
  const cycle = stepsOnCycles(
    graph.map(({ id, needs }) => ({ id: id!, needs: needs.filter((need) => ids.includes(need)) })),
  );
  const first = graph.find(({ id }) => cycle.includes(id!));
  if (first === undefined) return;
  const message = "these steps never start, because they wait for each other in a circle";
  report.value([...first.path, "needs"], `${message}: ${cycle.join(", ")}`);
}

function checkNeeds(step: StepNode, known: string[], report: Report): void {
  for (const [index, need] of step.needs.entries()) {
    if (need !== "") checkKnown([...step.path, "needs", index], "step", need, known, report);
  }
}

function checkStep(step: StepNode, pipelines: string[], report: Report): void {
  const { node, path } = step;
  if (node.kind !== "map") return;
  const works = WORKS.filter((key) => child(node, key) !== undefined);
  if (works.length === 0) {
    report.value(path, "the step does nothing", { expected: "one of action, pipeline, approval" });
  }
  if (works.length > 1) {
    report.key([...path, works[1]!], `a step is one thing, and this one has ${works.join(" and ")}`);
  }
  const called = textOf(child(node, "pipeline"));
  if (called !== undefined) checkKnown([...path, "pipeline"], "pipeline", called, pipelines, report);
  if (works.length === 1 && works[0] !== "action") checkNoAttempts(step, works[0]!, report);
  checkBreaker(step, report);
  if (child(node, "undo") !== undefined) checkUndo(step, works.includes("approval"), report);
  checkApprovers(step, report);
}

function checkNoAttempts({ node, path }: StepNode, work: "pipeline" | "approval", report: Report): void {
  const instead =
    work === "pipeline" ? "its own steps have theirs" : "a person answers it once, within `approval.timeout`";
  for (const key of OF_ATTEMPTS) {
    if (child(node, key) === undefined) continue;
    report.key([...path, key], `${key} is for actions, not for a step with ${work}: ${instead}`);
  }
}

/** Without a destination of its own a breaker takes the step's address. */
function checkBreaker({ node, path }: StepNode, report: Report): void {
  const breaker = child(node, "breaker");
  if (breaker?.kind !== "map" || child(breaker, "destination") !== undefined) return;
  if (textOf(child(child(node, "with"), "url")) !== undefined) return;
  report.value([...path, "breaker"], "the breaker of a step without a url needs a destination", {
    expected: "a text to count by, like destination: https://api.example",
  });
}

function checkUndo({ path, part }: StepNode, approval: boolean, report: Report): void {
  const at = [...path, "undo"];
  if (approval) report.key(at, "an approval does nothing that could be undone");
  else if (part !== "steps") report.key(at, `steps of ${part} are not undone: only those of steps are`);
}

function checkApprovers({ node, path }: StepNode, report: Report): void {
  for (const [index, item] of itemsOf(child(child(node, "approval"), "approvers")).entries()) {
    const who = textOf(item);
    if (who === undefined || /^(\*|local:\d{1,10}|user:[^\s:]+)$/.test(who)) continue;
    const at = [...path, "approval", "approvers", index];
    report.value(at, "not an approver", {
      expected: "user:NAME, local:UID or *",
      actual: report.actual(at),
    });
  }
}

/** A pipeline that is a step of itself, directly or through others, would never end. */
function checkRecursion(pipelines: PipelineNode[], report: Report): void {
  const calls = new Map(pipelines.map(({ name, steps }) => [name, steps.map(calledBy)]));
  const told = new Set<string>();
  for (const { name, steps } of pipelines) {
    for (const step of steps) {
      const called = calledBy(step);
      const circle = called === undefined ? null : wayBack(called, name, calls, [name]);
      if (circle === null || circle.some((each) => told.has(each))) continue;
      for (const each of circle) told.add(each);
      const way = [...circle, name].join(" → ");
      report.value([...step.path, "pipeline"], `the pipeline would run itself without an end: ${way}`);
    }
  }
}

function calledBy({ node }: StepNode): string | undefined {
  return textOf(child(node, "pipeline"));
}

/** The pipelines on the way from `name` to `home`, those passed already first; null when there is none. */
function wayBack(
  name: string,
  home: string,
  calls: Map<string, (string | undefined)[]>,
  passed: string[],
): string[] | null {
  if (name === home) return passed;
  const seen = new Set(passed);
  const queue: string[][] = [[...passed, name]];
  seen.add(name);
  for (let way = queue.shift(); way !== undefined; way = queue.shift()) {
    for (const next of calls.get(way.at(-1)!) ?? []) {
      if (next === home) return way;
      if (next === undefined || seen.has(next)) continue;
      seen.add(next);
      queue.push([...way, next]);
    }
  }
  return null;
}
