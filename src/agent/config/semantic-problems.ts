import { messageOf } from "../../core/errors.ts";
import { isLoopback, parseListen } from "../../core/listen.ts";
import { checkCondition } from "./cel-problems.ts";
import type { ExpressionChecks } from "./checks.ts";
import { child, type ConfigNode, entriesOf, itemsOf, nodeAt, type Path, textOf } from "./node.ts";
import { checkMaintenance } from "./maintenance-problems.ts";
import { checkPipelineExpressions } from "./pipeline-expressions.ts";
import { checkPipelines } from "./pipeline-problems.ts";
import type { Report } from "./report.ts";
import { checkRuleExpressions } from "./rule-expressions.ts";
import { checkRules } from "./rule-problems.ts";
import { checkScheduleParameters, checkSchedules } from "./schedule-problems.ts";

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
  for (const section of ["triggers", "rules", "schedules", "maintenance", "outputs"])
    checkNames(root, section, report);
  checkRules(root, report);
  checkSchedules(root, report);
  checkMaintenance(root, report);
  for (const section of ["triggers", "outputs"]) checkNoTemplates(root, section, "with", report);
  checkNoTemplates(root, "schedules", "params", report);
  checkPipelines(root, report);
  if (["rules", "pipelines", "outputs"].some((section) => child(root, section) !== undefined)) {
    checkExpressions(root, await expressions(), report);
  }
}

function checkExpressions(root: ConfigNode, checks: ExpressionChecks, report: Report): void {
  checkRuleExpressions(root, checks, report);
  for (const [index, output] of itemsOf(child(root, "outputs")).entries()) {
    checkCondition(output, ["outputs", index, "match"], checks, report);
  }
  checkPipelineExpressions(root, checks, report);
  checkScheduleParameters(root, checks, report);
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

const SECRET = /\$\{\{\s*secrets\.[a-zA-Z_]\w*\s*\}\}/g;

/** Settings of triggers, schedules and outputs are read once, before there is an event: a template there would stay plain text. */
function checkNoTemplates(root: ConfigNode, section: string, key: string, report: Report): void {
  const walk = (node: ConfigNode | undefined, path: Path): void => {
    // A secret is filled in as the worker of a trigger or an output starts.
    const text = section === "schedules" ? textOf(node) : textOf(node)?.replace(SECRET, "");
    if (text?.includes("${{")) {
      report.value(path, "templates are filled in only in steps and in what rules do");
    }
    for (const [key, value] of entriesOf(node)) walk(value, [...path, key]);
    for (const [index, item] of itemsOf(node).entries()) walk(item, [...path, index]);
  };
  for (const [index, item] of itemsOf(child(root, section)).entries()) {
    walk(child(item, key), [section, index, key]);
  }
}
