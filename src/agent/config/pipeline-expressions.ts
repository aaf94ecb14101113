import type { Reference } from "../../model/expression-references.ts";
import { checkCondition, checkTemplates, oneLine } from "./cel-problems.ts";
import type { ExpressionChecks } from "./checks.ts";
import { list } from "./known-names.ts";
import { child, type ConfigNode, itemsOf, nodeAt, type Path, textOf, toJson } from "./node.ts";
import { checkDeclarations, checkGiven, declaredParameters, foundParameters } from "./parameter-problems.ts";
import { PARAMETER_FACTS } from "../../model/shared-parameter.ts";
import { type PipelineNode, pipelinesOf, stepsBefore, type StepNode } from "./pipeline-steps.ts";
import type { Report } from "./report.ts";

/** What may be referred to in one place, and what to say of the rest. */
interface Scope {
  /** Steps that are done by then; null where there are none at all. */
  steps: Set<string> | null;
  item: boolean;
  /** Once there is a step; what belongs to the run is settled before or after them. */
  memory: boolean;
  /** In what an action is given, and nowhere else. */
  secrets: boolean;
  failure: boolean;
  /** Names that `params` has; null is any. */
  params: string[] | null;
  /** Every step of the pipeline, to tell one that is later from one that is not there. */
  all: string[];
}

interface Place {
  root: ConfigNode;
  checks: ExpressionChecks;
  report: Report;
}

/** CEL of pipelines, what it refers to, and the parameters that rules and steps give to them. */
export function checkPipelineExpressions(root: ConfigNode, checks: ExpressionChecks, report: Report): void {
  const pipelines = pipelinesOf(root);
  const place: Place = { root, checks, report };
  for (const pipeline of pipelines) {
    checkDeclarations(pipeline, checks, report);
    checkOwn(pipeline, place);
    for (const step of pipeline.steps) {
      checkStep(pipeline, step, place);
      checkCall(step, "pipeline", "with", pipelines, place);
    }
  }
  for (const [index, node] of itemsOf(child(root, "rules")).entries()) {
    checkCall({ node, path: ["rules", index] }, "run", "params", pipelines, place);
  }
}

function checkCall(
  { node, path }: { node: ConfigNode; path: Path },
  nameKey: string,
  valuesKey: string,
  pipelines: PipelineNode[],
  { root, checks, report }: Place,
): void {
  const called = textOf(child(node, nameKey));
  const pipeline = pipelines.find(({ name }) => name === called);
  if (pipeline === undefined) return;
  const found = foundParameters(root, pipeline);
  const at = { path: [...path, valuesKey], caller: [...path, nameKey], found };
  checkGiven(pipeline, child(node, valuesKey), at, checks, report);
}

/** What belongs to the pipeline itself: before its first step, or after its last. */
function checkOwn(pipeline: PipelineNode, place: Place): void {
  const { path, steps } = pipeline;
  const before = scopeOf(pipeline, place, { steps: null });
  checkTemplate([...path, "concurrency_by_key", "key"], before, place);
  checkTemplate([...path, "exclusive", "lock"], before, place);
  const graph = steps.filter(({ part }) => part === "steps");
  checkTemplate([...path, "output"], scopeOf(pipeline, place, { steps: idsOf(graph) }), place);
}

function checkStep(pipeline: PipelineNode, step: StepNode, place: Place): void {
  const { node, path } = step;
  const done = doneBefore(pipeline, step);
  const scope = scopeOf(pipeline, place, { steps: done, memory: true, failure: step.part !== "steps" });
  const item = child(node, "foreach") !== undefined;
  checkExpression([...path, "when"], "condition", scope, place);
  const foreach = child(node, "foreach");
  checkExpression([...path, "foreach", ...(foreach?.kind === "map" ? ["in"] : [])], "list", scope, place);
  checkTemplate([...path, "exclusive", "lock"], scope, place);
  const secrets = child(node, "action") !== undefined;
  checkTemplate([...path, "with"], { ...scope, item, secrets }, place);
  checkTemplate([...path, "approval", "text"], { ...scope, item }, place);
  checkTemplate([...path, "breaker", "destination"], { ...scope, item }, place);
  const undone = { ...scope, item, secrets: true, failure: true, steps: idsOf(pipeline.steps, "steps") };
  checkTemplate([...path, "undo", "with"], undone, place);
}

function scopeOf(pipeline: PipelineNode, { root }: Place, scope: Partial<Scope>): Scope {
  const declared = declaredParameters(pipeline)?.map(({ name }) => name) ?? null;
  const params = declared && [...declared, ...foundParameters(root, pipeline), ...PARAMETER_FACTS];
  const all = [...idsOf(pipeline.steps)];
  return { steps: null, item: false, memory: false, secrets: false, failure: false, params, all, ...scope };
}

function idsOf(steps: StepNode[], part?: StepNode["part"]): Set<string> {
  const of = steps.filter((step) => part === undefined || step.part === part);
  return new Set(of.flatMap(({ id }) => id ?? []));
}

/** A step of the end sees all steps and those of its end that ran before it; `finally` goes from the last to the first. */
function doneBefore({ steps }: PipelineNode, step: StepNode): Set<string> {
  if (step.part === "steps") return stepsBefore(step, steps);
  const earlier = steps.filter(({ part, index }) => {
    if (part === "steps") return true;
    if (part !== step.part) return part === "finally";
    return part === "finally" ? index > step.index : index < step.index;
  });
  return idsOf(earlier);
}

function checkExpression(path: Path, kind: "condition" | "list", scope: Scope, place: Place): void {
  const source = textOf(nodeAt(place.root, path));
  if (source === undefined) return;
  if (kind === "condition")
    checkCondition(nodeAt(place.root, path.slice(0, -1))!, path, place.checks, place.report);
  else {
    const problem = place.checks.checkList(source);
    if (problem !== null) place.report.value(path, `not a CEL list: ${oneLine(problem)}`);
  }
  for (const reference of place.checks.references(source))
    checkReference(reference, path, scope, place.report);
}

function checkTemplate(path: Path, scope: Scope, place: Place): void {
  const node = nodeAt(place.root, path);
  if (node === undefined) return;
  checkTemplates(nodeAt(place.root, path.slice(0, -1))!, path, place.checks, place.report);
  for (const { path: inner, references } of place.checks.templateReferences(toJson(node))) {
    for (const reference of references) {
      checkReference(reference, [...path, ...inner], scope, place.report);
    }
  }
}

function checkReference({ name, key }: Reference, path: Path, scope: Scope, report: Report): void {
  if (name === "steps" && scope.steps === null)
    report.value(path, "no step has run here yet: steps is empty");
  else if (name === "steps" && key !== null) checkStepName(key, path, scope, report);
  else if (name === "params" && key !== null && scope.params !== null && !scope.params.includes(key)) {
    const names = scope.params;
    const message = `the pipeline declares no parameter ${JSON.stringify(key)}`;
    report.value(path, message, { expected: `one of ${list(names)}`, ...report.suggest(key, names) });
  } else if (name === "item" && !scope.item) {
    report.value(path, "item is known only in `with` and `undo` of a step with foreach");
  } else if (name === "secrets" && !scope.secrets) {
    report.value(
      path,
      "secrets are known only in `with` of an action and of its undo: nothing else may hold one",
    );
  } else if (name === "secrets" && key === null) {
    report.value(
      path,
      "a secret is named where it is used, like secrets.API_TOKEN: a name cannot be computed",
    );
  } else if (name === "memory" && !scope.memory) {
    report.value(path, "memory is known only in steps");
  } else if (name === "failure" && !scope.failure) {
    report.value(path, "failure is known only in undo, finally and on_failure");
  } else if (name === "window") report.value(path, "window is known only in a rule's window");
}

function checkStepName(id: string, path: Path, { steps, all }: Scope, report: Report): void {
  if (steps!.has(id)) return;
  const shown = JSON.stringify(id);
  if (all.includes(id)) {
    report.value(path, `step ${shown} need not have run here: it is not among what this step needs`);
    return;
  }
  const expected =
    steps!.size === 0 ? "a step that this one needs; there is none" : `one of ${list([...steps!])}`;
  report.value(path, `there is no step ${shown}`, { expected, ...report.suggest(id, all) });
}
