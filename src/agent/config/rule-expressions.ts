import type { Reference } from "../../model/expression-references.ts";
import { checkCondition, checkTemplates, oneLine } from "./cel-problems.ts";
import type { ExpressionChecks } from "./checks.ts";
import { child, type ConfigNode, itemsOf, nodeAt, type Path, textOf, toJson } from "./node.ts";
import type { Report } from "./report.ts";

interface Place {
  rule: ConfigNode;
  path: Path;
  checks: ExpressionChecks;
  report: Report;
}

const CONDITIONS: Path[] = [["when"], ["window", "is"], ["finding", "resolved_when"]];
const VALUES: Path[] = [["by"], ["window", "of"]];
const TEMPLATES: Path[] = [
  ["params"],
  ["emit", "subject"],
  ["emit", "data"],
  ["finding", "title"],
  ["finding", "key"],
  ["finding", "data"],
];

/** CEL of rules, and what it refers to: there is an event and an agent, and in some places a window. */
export function checkRuleExpressions(root: ConfigNode, checks: ExpressionChecks, report: Report): void {
  for (const [index, rule] of itemsOf(child(root, "rules")).entries()) {
    const place: Place = { rule, path: ["rules", index], checks, report };
    const steps = itemsOf(nodeAt(rule, ["sequence", "steps"])).map((_, step) => [
      "sequence",
      "steps",
      step,
      "when",
    ]);
    for (const at of [...CONDITIONS, ...steps]) checkConditionAt(at, place);
    for (const at of VALUES) checkValueAt(at, place);
    for (const at of TEMPLATES) checkTemplateAt(at, place);
  }
}

function checkConditionAt(at: Path, place: Place): void {
  const { rule, path, checks, report } = place;
  const parent = nodeAt(rule, at.slice(0, -1));
  const source = textOf(nodeAt(rule, at));
  if (parent === undefined || source === undefined) return;
  checkCondition(parent, [...path, ...at], checks, report);
  checkReferences(checks.references(source), at, at[0] === "window", place);
}

function checkValueAt(at: Path, place: Place): void {
  const { rule, path, checks, report } = place;
  const source = textOf(nodeAt(rule, at));
  if (source === undefined) return;
  const problem = checks.checkValue(source);
  if (problem !== null) report.value([...path, ...at], `not a CEL expression: ${oneLine(problem)}`);
  checkReferences(checks.references(source), at, false, place);
}

function checkTemplateAt(at: Path, place: Place): void {
  const { rule, path, checks, report } = place;
  const parent = nodeAt(rule, at.slice(0, -1));
  const node = nodeAt(rule, at);
  if (parent === undefined || node === undefined) return;
  checkTemplates(parent, [...path, ...at], checks, report);
  for (const { path: inner, references } of checks.templateReferences(toJson(node)))
    checkReferences(references, [...at, ...inner], true, place);
}

function checkReferences(references: Reference[], at: Path, window: boolean, { path, report }: Place): void {
  for (const { name } of references) {
    if (name === "event" || name === "agent" || name === "memory" || (name === "window" && window)) continue;
    const message =
      name === "window"
        ? "window is known only in `window.is` and in templates"
        : `${name} is not known in a rule: it belongs to a run`;
    report.value([...path, ...at], message, {
      expected: `event${window ? ", window" : ""}, memory or agent`,
    });
  }
}
