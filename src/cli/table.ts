import { fitted, padded, plainLine } from "./plain-text.ts";

export interface Column<T> {
  title: string;
  value: (row: T) => string | number | null | undefined;
  /** Gives way first when the terminal is too narrow; its least width. */
  shrinkTo?: number;
  /** Colour of a cell on a terminal, by its text. */
  color?: (text: string) => Color | undefined;
}

export type Color = "red" | "green" | "yellow" | "dim";

export interface TableOptions {
  /** Columns of the terminal; undefined writes every cell whole. */
  width?: number;
  color?: boolean;
  header?: boolean;
}

const CODES: Record<Color, number> = { red: 31, green: 32, yellow: 33, dim: 2 };
const GAP = 2;

/** Lines of a table. Cells are cleaned of control characters; an empty cell is `-`. */
export function table<T>(rows: T[], columns: Column<T>[], options: TableOptions = {}): string[] {
  const cells = rows.map((row) => columns.map((column) => cellText(column.value(row))));
  const header = options.header === false ? [] : [columns.map((column) => column.title)];
  const widths = fitWidths([...header, ...cells], columns, options.width);
  const line = (texts: string[], paint: (text: string, column: Column<T>) => string) =>
    texts
      .map((text, index) => {
        const shown = fitted(text, widths[index]!);
        const last = index === texts.length - 1;
        const painted = paint(shown, columns[index]!);
        return last ? painted : painted + padded("", widths[index]! - Bun.stringWidth(shown) + GAP);
      })
      .join("")
      .trimEnd();
  return [
    ...header.map((texts) => line(texts, (text) => colored(text, "dim", options.color))),
    ...cells.map((texts) =>
      line(texts, (text, column) => colored(text, column.color?.(text), options.color)),
    ),
  ];
}

export function colored(text: string, color: Color | undefined, on: boolean | undefined): string {
  return on && color ? `\u001b[${CODES[color]}m${text}\u001b[0m` : text;
}

/** Colour of a state's name: of agents, runs, steps and parts, and of severities. */
export function stateColor(state: string): Color | undefined {
  if (/^(online|succeeded|running|ok)$/.test(state)) return "green";
  if (/^(failed|timed_out|dead|offline|quarantined|critical|error)$/.test(state)) return "red";
  if (/^(late|uncertain|cancelled|warning|waiting|degraded|held)$/.test(state)) return "yellow";
  return undefined;
}

function cellText(value: string | number | null | undefined): string {
  const text = plainLine(String(value ?? ""));
  return text === "" ? "-" : text;
}

function fitWidths<T>(rows: string[][], columns: Column<T>[], total: number | undefined): number[] {
  const widths = columns.map((_, index) => Math.max(1, ...rows.map((row) => Bun.stringWidth(row[index]!))));
  if (total === undefined) return widths;
  let excess = widths.reduce((sum, width) => sum + width, 0) + GAP * (columns.length - 1) - total;
  while (excess > 0) {
    // The widest of those that may give way gives first.
    const candidates = columns
      .map((column, index) => ({ index, spare: widths[index]! - (column.shrinkTo ?? Infinity) }))
      .filter((each) => each.spare > 0)
      .sort((a, b) => widths[b.index]! - widths[a.index]!);
    const widest = candidates[0];
    if (!widest) return widths;
    const second = candidates[1] ? widths[widest.index]! - widths[candidates[1].index]! : Infinity;
    const cut = Math.max(1, Math.min(excess, widest.spare, second));
    widths[widest.index]! -= cut;
    excess -= cut;
  }
  return widths;
}
