import { messageOf } from "../../core/errors.ts";
import { isLoopback, parseListen } from "../../core/listen.ts";
import { stepsOnCycles } from "../../model/pipeline.ts";
import type { ExpressionChecks } from "./checks.ts";
import { child, type ConfigNode, entriesOf, itemsOf, nodeAt, type Path, textOf, toJson } from "./node.ts";
import type { Report } from "./report.ts";

/**
 * What a schema cannot say: names that are there twice or not at all, cycles, expressions, addresses. Works on documents
 * that fail their schema as well, so that a person sees everything at once.
 */
export async function checkMeaning(
  root: ConfigNode,
  expressions: () => Promise<ExpressionChecks>,
  report: Report,
): Promise<void> {
  checkListen(root, report);
  for (const section of ["triggers", "rules", "outputs"]) checkNames(root, section, report);
  checkReferences(root, report);
  for (const section of ["triggers", "outputs"]) checkNoTemplates(root, section, report);
  for (const [name, pipeline] of entriesOf(child(root, "pipelines"))) {
    checkSteps(pipeline, ["pipelines", name], report);
  }
  if (["rules", "pipelines", "outputs"].some((section) => child(root, section) !== undefined)) {
    checkExpressions(root, await expressions(), report);
  }
}

function checkReferences(root: ConfigNode, report: Report): void {
  const triggers = itemsOf(child(root, "triggers")).flatMap((item) => textOf(child(item, "name")) ?? []);
  const pipelines = entriesOf(child(root, "pipelines")).map(([name]) => name);
  for (const [index, rule] of itemsOf(child(root, "rules")).entries()) {
    const path: Path = ["rules", index];
    checkOn(rule, path, triggers, report);
    const run = textOf(child(rule, "run"));
    if (run !== undefined) checkKnown([...path, "run"], "pipeline", run, pipelines, report);
  }
}

function checkExpressions(root: ConfigNode, checks: ExpressionChecks, report: Report): void {
  for (const [index, rule] of itemsOf(child(root, "rules")).entries()) {
    checkCondition(rule, ["rules", index, "when"], checks, report);
    checkTemplates(rule, ["rules", index, "params"], checks, report);
  }
  for (const [index, output] of itemsOf(child(root, "outputs")).entries()) {
    checkCondition(output, ["outputs", index, "match"], checks, report);
  }
  for (const [name, pipeline] of entriesOf(child(root, "pipelines"))) {
    for (const part of ["steps", "on_failure"]) {
      for (const [index, step] of itemsOf(child(pipeline, part)).entries()) {
        checkTemplates(step, ["pipelines", name, part, index, "with"], checks, report);
      }
    }
  }
}

function checkListen(root: ConfigNode, report: Report): void {
  const path = ["health", "listen"];
  const text = textOf(nodeAt(root, path));
  if (text === undefined || !/^(\[[0-9a-fA-F:.]+\]|[\w.-]+):\d{1,5}$/.test(text)) return;
  const expected = "a loopback address, like 127.0.0.1:9110";
  try {
    if (isLoopback(parseListen(text).host)) return;
    report.value(path, "the health port must not be reachable from outside", {
      expected,
      actual: report.actual(path),
    });
  } catch (error) {
    report.value(path, messageOf(error));
  }
}

function checkNames(root: ConfigNode, section: string, report: Report): void {
  const seen = new Map<string, Path>();
  for (const [index, item] of itemsOf(child(root, section)).entries()) {
    const name = textOf(child(item, "name"));
    const path: Path = [section, index, "name"];
    if (name === undefined) continue;
    const first = seen.get(name);
    if (first === undefined) seen.set(name, path);
    else {
      const line = nodeAt(root, first)!.origin.line;
      const where = line > 0 ? ` at line ${line}` : "";
      report.value(path, `the name ${JSON.stringify(name)} is taken already${where}`);
    }
  }
}

function checkOn(rule: ConfigNode, path: Path, triggers: string[], report: Report): void {
  const on = child(rule, "on");
  const check = (name: string | undefined, at: Path) => {
    // `manual` is the trigger of events that people emit.
    if (name !== undefined && name !== "*" && name !== "manual")
      checkKnown(at, "trigger", name, triggers, report);
  };
  check(textOf(on), [...path, "on"]);
  for (const [index, item] of itemsOf(on).entries()) check(textOf(item), [...path, "on", index]);
}

function checkKnown(path: Path, what: string, name: string, known: string[], report: Report): void {
  if (known.includes(name)) return;
  report.value(path, `there is no ${what} ${JSON.stringify(name)}`, {
    expected:
      known.length === 0 ? `a ${what} of this configuration, which has none` : `one of ${list(known)}`,
    ...report.suggest(name, known),
  });
}

/** Names for a message: all of a few, the first of many. */
export function list(names: string[]): string {
  const all = [...new Set(names)].sort();
  const shown = all.slice(0, 12).join(", ");
  return all.length > 12 ? `${shown} and ${all.length - 12} more` : shown;
}

function checkCondition(item: ConfigNode, path: Path, checks: ExpressionChecks, report: Report): void {
  const source = textOf(child(item, path.at(-1)!));
  const problem = source === undefined ? null : checks.checkExpression(source);
  if (problem !== null) report.value(path, `not a CEL condition: ${oneLine(problem)}`);
}

function checkTemplates(item: ConfigNode, path: Path, checks: ExpressionChecks, report: Report): void {
  const value = child(item, path.at(-1)!);
  if (value === undefined) return;
  for (const { path: inner, message } of checks.checkTemplate(toJson(value))) {
    report.value([...path, ...inner], `a template that is not CEL: ${oneLine(message)}`);
  }
}

/** Settings of triggers and outputs are read once, before there is an event: a template there would stay plain text. */
function checkNoTemplates(root: ConfigNode, section: string, report: Report): void {
  const walk = (node: ConfigNode | undefined, path: Path): void => {
    if (textOf(node)?.includes("${{")) {
      report.value(path, "templates are filled in only in a step's `with` and a rule's `params`");
    }
    for (const [key, value] of entriesOf(node)) walk(value, [...path, key]);
    for (const [index, item] of itemsOf(node).entries()) walk(item, [...path, index]);
  };
  for (const [index, item] of itemsOf(child(root, section)).entries()) {
    walk(child(item, "with"), [section, index, "with"]);
  }
}

interface Step {
  id: string;
  needs: string[];
  path: Path;
}

function stepsOf(pipeline: ConfigNode, path: Path, part: string): Step[] {
  return itemsOf(child(pipeline, part)).flatMap((step, index) => {
    const id = textOf(child(step, "id"));
    const needs = itemsOf(child(step, "needs")).map((need) => textOf(need) ?? "");
    return id === undefined ? [] : [{ id, needs, path: [...path, part, index] }];
  });
}

function checkSteps(pipeline: ConfigNode, path: Path, report: Report): void {
  const steps = stepsOf(pipeline, path, "steps");
  const onFailure = stepsOf(pipeline, path, "on_failure");
  const seen = new Set<string>();
  for (const { id, path: at } of [...steps, ...onFailure]) {
    if (seen.has(id))
      report.value([...at, "id"], `the id ${JSON.stringify(id)} is taken already in this pipeline`);
    seen.add(id);
  }
  const ids = steps.map((step) => step.id);
  for (const step of steps) checkNeeds(step, ids, report);
  // Steps of on_failure run one after the other: each may name those before it, and the steps that came before all.
  for (const [index, step] of onFailure.entries()) {
    const later = onFailure.slice(index).map((other) => other.id);
    checkNeeds(step, [...ids, ...onFailure.slice(0, index).map((other) => other.id)], report, later);
  }
  const cycle = stepsOnCycles(
    steps.map((step) => ({ id: step.id, needs: step.needs.filter((need) => ids.includes(need)) })),
  );
  for (const step of steps.filter((each) => cycle.includes(each.id))) {
    report.value(
      [...step.path, "needs"],
      `these steps never start, because they wait for each other in a circle: ${cycle.join(", ")}`,
    );
    break;
  }
}

function checkNeeds(step: Step, known: string[], report: Report, later: string[] = []): void {
  for (const [index, need] of step.needs.entries()) {
    const path = [...step.path, "needs", index];
    if (!known.includes(need) && later.includes(need)) {
      report.value(
        path,
        `steps of on_failure run in their order: ${JSON.stringify(need)} does not come before this one`,
      );
    } else if (need !== "") checkKnown(path, "step", need, known, report);
  }
}

/** The first line of a message that goes on to draw the source, with the column that it points at. */
export function oneLine(message: string): string {
  const lines = message.split("\n");
  const first = lines[0]!.trim();
  const pointer = lines.findIndex((line) => /^\s*\^/.test(line));
  const drawn = pointer > 0 ? lines[pointer - 1]! : "";
  const source = drawn.indexOf("| ");
  if (source < 0) return first;
  const column = lines[pointer]!.indexOf("^") - source - 1;
  return `${first} (at character ${Math.max(1, column)} of ${JSON.stringify(drawn.slice(source + 2))})`;
}
