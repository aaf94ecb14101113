import { type Figure, type Goal, meetsGoal } from "./frame.ts";

/** One table of all figures: what, value, baseline, ratio, goal, and whether it was met. */
export function printFigures(results: { bench: string; figures: Figure[] }[]): void {
  const rows = [["figure", "measured", "baseline", "ratio", "goal", ""]];
  for (const { bench, figures } of results) {
    for (const figure of figures) rows.push(rowOf(bench, figure));
  }
  if (rows.length === 1) return;
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => Bun.stringWidth(row[column]!))));
  console.log();
  for (const row of rows) {
    console.log(
      row
        .map((cell, i) => cell + " ".repeat(widths[i]! - Bun.stringWidth(cell)))
        .join("  ")
        .trimEnd(),
    );
  }
  console.log();
}

function rowOf(bench: string, figure: Figure): string[] {
  const { name, value, unit, baseline, goal } = figure;
  const met = meetsGoal(figure);
  return [
    `${bench}: ${name}`,
    formatValue(value, unit),
    baseline ? `${formatValue(baseline.value, unit)} (${baseline.name})` : "",
    baseline && baseline.value !== 0 ? (value / baseline.value).toFixed(2) : "",
    goal ? formatGoal(goal, unit) : "",
    met === null ? "" : met ? "met" : "MISSED",
  ];
}

function formatGoal(goal: Goal, unit: string): string {
  switch (goal.kind) {
    case "at most":
      return `≤ ${formatValue(goal.value, unit)}`;
    case "at least":
      return `≥ ${formatValue(goal.value, unit)}`;
    case "ratio at most":
      return `≤ ${goal.value} × baseline`;
    case "ratio at least":
      return `≥ ${goal.value} × baseline`;
    case "over baseline at most":
      return `≤ baseline + ${formatValue(goal.value, unit)}`;
  }
}

/** Three significant digits, thousands separated: `4.56 ms`, `143,000 1/s`. */
export function formatValue(value: number, unit: string): string {
  const digits = Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : Math.abs(value) >= 1 ? 2 : 3;
  const text = value.toLocaleString("en-US", {
    minimumFractionDigits: digits,
    maximumFractionDigits: digits,
  });
  return unit === "" ? text : `${text} ${unit}`;
}
