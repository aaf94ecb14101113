import { messageOf } from "../../core/errors.ts";
import { isLoopback, parseListen } from "../../core/listen.ts";
import { checkCondition, checkTemplates } from "./cel-problems.ts";
import type { ExpressionChecks } from "./checks.ts";
import { checkKnown } from "./known-names.ts";
import { child, type ConfigNode, entriesOf, itemsOf, nodeAt, type Path, textOf } from "./node.ts";
import { checkPipelineExpressions } from "./pipeline-expressions.ts";
import { checkPipelines } from "./pipeline-problems.ts";
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
  checkPipelines(root, report);
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
  checkPipelineExpressions(root, checks, report);
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
