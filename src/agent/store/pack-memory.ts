import type { FindingRow, RuleMemory, RuleStateRow, WindowEntryRow } from "../../model/rule.ts";
import { fromJson } from "./run-columns.ts";

/**
 * What rules remember as it crosses from the thread, as one JSON text: Bun hands a string over without walking it, and
 * hundreds of thousands of small objects it copies one by one. Rules are named by their place in a list, because an identity
 * is longer than what it is said of.
 */
interface PackedMemory {
  rules: string[];
  /** Three a state: rule, key, body as JSON. */
  states: (number | string)[];
  /** Four an entry: rule, key, time, value. */
  entries: (number | string | null)[];
  openFindings: FindingRow[];
  version: number;
}

const STATE = 3;
const ENTRY = 4;

/** Rows as SQLite gives them, in lists: of a state rule, key, body; of an entry rule, key, time, value. */
export function packMemory(rows: {
  states: unknown[][];
  entries: unknown[][];
  openFindings: FindingRow[];
  version: number;
}): string {
  const places = new Map<string, number>();
  const flat = <Cell>(list: unknown[][]): Cell[] => {
    const cells: unknown[] = [];
    for (const row of list) {
      const rule = row[0] as string;
      let place = places.get(rule);
      if (place === undefined) places.set(rule, (place = places.size));
      cells.push(place);
      for (let i = 1; i < row.length; i++) cells.push(row[i]);
    }
    return cells as Cell[];
  };
  const states = flat<number | string>(rows.states);
  const entries = flat<number | string | null>(rows.entries);
  const { openFindings, version } = rows;
  const packed: PackedMemory = { rules: [...places.keys()], states, entries, openFindings, version };
  return JSON.stringify(packed);
}

export function unpackMemory(text: string): RuleMemory {
  const packed = JSON.parse(text) as PackedMemory;
  const ruleAt = (place: unknown) => packed.rules[place as number]!;
  const states: RuleStateRow[] = [];
  for (let i = 0; i < packed.states.length; i += STATE) {
    const [rule, key, body] = packed.states.slice(i, i + STATE);
    states.push({ rule: ruleAt(rule), key: key as string, body: fromJson(body) });
  }
  const entries: WindowEntryRow[] = [];
  for (let i = 0; i < packed.entries.length; i += ENTRY) {
    const [rule, key, atMs, value] = packed.entries.slice(i, i + ENTRY);
    entries.push({ rule: ruleAt(rule), key: key as string, atMs: atMs as number, value: value ?? null });
  }
  return { states, entries, openFindings: packed.openFindings, version: packed.version };
}
