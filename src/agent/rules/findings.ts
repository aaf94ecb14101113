import type { Json } from "../../model/json.ts";
import type { Severity } from "../../model/event.ts";
import type { FindingRow } from "../../model/rule.ts";

/** Open findings that are held; more are refused, and counted as errors of their rules. */
export const MAX_OPEN_FINDINGS = 10_000;

export interface RaisedFinding {
  rule: string;
  key: string;
  severity: Severity;
  title: string;
  data: Json;
}

/** Findings that nobody and nothing has resolved, by key: the same key again is counted, not told again. */
export class OpenFindings {
  readonly #open = new Map<string, FindingRow>();

  get size(): number {
    return this.#open.size;
  }

  load(rows: FindingRow[]): void {
    this.#open.clear();
    for (const row of rows) this.#open.set(row.key, row);
  }

  has(key: string): boolean {
    return this.#open.has(key);
  }

  /** The row as it stands now, and whether it is new; null when there are too many. */
  raise(
    raised: RaisedFinding,
    wallMs: number,
    newId: () => string,
  ): { row: FindingRow; opened: boolean } | null {
    const before = this.#open.get(raised.key);
    if (before) {
      const row = { ...before, data: raised.data, count: before.count + 1, lastMs: wallMs };
      this.#open.set(raised.key, row);
      return { row, opened: false };
    }
    if (this.#open.size >= MAX_OPEN_FINDINGS) return null;
    const row: FindingRow = {
      id: newId(),
      ...raised,
      state: "open",
      count: 1,
      firstMs: wallMs,
      lastMs: wallMs,
      resolvedMs: null,
    };
    this.#open.set(row.key, row);
    return { row, opened: true };
  }

  /** The row as it was resolved; null when none is open under this key. */
  resolve(key: string, wallMs: number): FindingRow | null {
    const open = this.#open.get(key);
    if (!open) return null;
    this.#open.delete(key);
    return { ...open, state: "resolved", resolvedMs: wallMs };
  }
}
