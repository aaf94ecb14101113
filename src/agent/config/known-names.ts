import type { Path } from "./node.ts";
import type { Report } from "./report.ts";

/** A name must be one of those that are there; else the problem says which there are and which was probably meant. */
export function checkKnown(path: Path, what: string, name: string, known: string[], report: Report): void {
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
