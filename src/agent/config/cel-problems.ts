import type { ExpressionChecks } from "./checks.ts";
import { child, type ConfigNode, type Path, textOf, toJson } from "./node.ts";
import type { Report } from "./report.ts";

/** The CEL condition at `path` of an item, where there is one. */
export function checkCondition(item: ConfigNode, path: Path, checks: ExpressionChecks, report: Report): void {
  const source = textOf(child(item, path.at(-1)!));
  const problem = source === undefined ? null : checks.checkExpression(source);
  if (problem !== null) report.value(path, `not a CEL condition: ${oneLine(problem)}`);
}

/** Every `${{ }}` at `path` of an item. */
export function checkTemplates(item: ConfigNode, path: Path, checks: ExpressionChecks, report: Report): void {
  const value = child(item, path.at(-1)!);
  if (value === undefined) return;
  for (const { path: inner, message } of checks.checkTemplate(toJson(value))) {
    report.value([...path, ...inner], `a template that is not CEL: ${oneLine(message)}`);
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
