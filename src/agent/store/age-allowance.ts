/** By age no more than this part of a table goes in any hour, whatever the clocks say (DESIGN promise 7). */
const PART = 10;
const HOUR_MS = 3_600_000;

/**
 * Rows of one table that went by age. It ends an hour after the last of them, by a clock that only counts: so no hour,
 * wherever it begins, meets two of them.
 */
export interface AgeWindow {
  /** Rows that there were as it began. */
  rows: number;
  gone: number;
  lastMonoMs: number;
}

/** Rows that may go by age now. A table of less than ten rows loses one an hour. */
export function ageAllowance(window: AgeWindow | undefined, rows: number, monoMs: number): number {
  if (!window || isOver(window, monoMs)) return partOf(rows);
  return Math.max(0, partOf(window.rows) - window.gone);
}

/** The window after `gone` of `rows` rows went. */
export function goneByAge(
  window: AgeWindow | undefined,
  rows: number,
  gone: number,
  monoMs: number,
): AgeWindow {
  if (!window || isOver(window, monoMs)) return { rows, gone, lastMonoMs: monoMs };
  return { rows: window.rows, gone: window.gone + gone, lastMonoMs: monoMs };
}

function isOver({ lastMonoMs }: AgeWindow, monoMs: number): boolean {
  return monoMs - lastMonoMs >= HOUR_MS;
}

function partOf(rows: number): number {
  return Math.max(1, Math.floor(rows / PART));
}
