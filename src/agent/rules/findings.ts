import { Heap } from "../../core/heap.ts";
import type { Json } from "../../model/json.ts";
import type { Severity } from "../../model/event.ts";
import {
  type FindingExtra,
  resolvedFinding,
  RESOLVED_BY_RULE,
  RESOLVED_BY_TIME,
} from "../../model/finding.ts";
import type { FindingRow } from "../../model/rule.ts";
import type { RuleTimes } from "./collected.ts";

/** Findings that are held unresolved; more are refused, and counted as errors of their rules. */
export const MAX_OPEN_FINDINGS = 10_000;

export interface RaisedFinding {
  rule: string;
  key: string;
  severity: Severity;
  title: string;
  data: Json;
}

/** What raised it, and after how long without a repeat it is over. */
export interface Raising {
  event: NonNullable<FindingExtra["event"]>;
  resolveAfterMs: number | undefined;
  /** What silences it. */
  silencedBy: string | null;
}

/** Findings that nobody and nothing has resolved, by key: the same key again is counted, not told again. */
export class OpenFindings {
  readonly #open = new Map<string, FindingRow>();
  /** Times at which one may be due, one place a key: a later time is found out when the earlier one comes. */
  readonly #due = new Heap<{ atMs: number; key: string }>((a, b) => a.atMs - b.atMs);
  readonly #queued = new Set<string>();

  get size(): number {
    return this.#open.size;
  }

  load(rows: FindingRow[]): void {
    this.#open.clear();
    this.#due.clear();
    this.#queued.clear();
    for (const row of rows) this.put(row);
  }

  has(key: string): boolean {
    return this.#open.has(key);
  }

  byId(id: string): FindingRow | null {
    for (const row of this.#open.values()) if (row.id === id) return row;
    return null;
  }

  /** Takes over a row as it stands now. */
  put(row: FindingRow): void {
    if (row.state === "resolved") {
      if (this.#open.get(row.key)?.id === row.id) this.#open.delete(row.key);
      return;
    }
    this.#open.set(row.key, row);
    const atMs = row.extra?.resolveAtMs;
    if (atMs !== undefined) this.#queue(row.key, atMs);
  }

  /** The row as it stands now, and whether it is to be told as opened; null when there are too many. */
  raise(
    raised: RaisedFinding,
    { event, resolveAfterMs, silencedBy }: Raising,
    { trustedMs, wallMs }: RuleTimes,
    newId: () => string,
  ): { row: FindingRow; opened: boolean } | null {
    const before = this.#open.get(raised.key);
    if (!before && this.#open.size >= MAX_OPEN_FINDINGS) return null;
    const { resolveAtMs: _, silenced, ...kept } = before?.extra ?? {};
    // Nobody was told of it while it was silenced: it is told when it comes again after that.
    const untold = before === undefined || silenced?.untold === true;
    const extra: FindingExtra = { ...kept, event };
    if (resolveAfterMs !== undefined) extra.resolveAtMs = trustedMs + resolveAfterMs;
    if (silencedBy !== null) extra.silenced = { by: silencedBy, untold };
    const row: FindingRow = before
      ? { ...before, data: raised.data, count: before.count + 1, lastMs: wallMs, extra }
      : {
          id: newId(),
          ...raised,
          state: "open",
          count: 1,
          firstMs: wallMs,
          lastMs: wallMs,
          resolvedMs: null,
          extra,
        };
    this.put(row);
    return { row, opened: silencedBy === null ? untold : before === undefined };
  }

  /** The row as an event resolved it; null when none is open under this key. */
  resolve(key: string, wallMs: number): FindingRow | null {
    return this.#end(key, RESOLVED_BY_RULE, wallMs);
  }

  /** Trusted time at which the next one is over; null when none is. */
  dueMs(): number | null {
    for (let next = this.#due.peek(); next !== undefined; next = this.#due.peek()) {
      const atMs = this.#open.get(next.key)?.extra?.resolveAtMs;
      if (atMs === next.atMs) return atMs;
      this.#due.pop();
      this.#queued.delete(next.key);
      if (atMs !== undefined) this.#queue(next.key, atMs);
    }
    return null;
  }

  /** The one that is over by now because it was not raised again. */
  takeDue({ trustedMs, wallMs }: RuleTimes): FindingRow | null {
    const dueMs = this.dueMs();
    if (dueMs === null || dueMs > trustedMs) return null;
    return this.#end(this.#due.peek()!.key, RESOLVED_BY_TIME, wallMs);
  }

  #end(key: string, by: string, wallMs: number): FindingRow | null {
    const open = this.#open.get(key);
    if (!open) return null;
    this.#open.delete(key);
    return resolvedFinding(open, { kind: "resolved", by, reason: "" }, wallMs);
  }

  #queue(key: string, atMs: number): void {
    if (this.#queued.has(key)) return;
    this.#queued.add(key);
    this.#due.push({ atMs, key });
  }

  bySeverity(): Partial<Record<Severity, number>> {
    const counts: Partial<Record<Severity, number>> = {};
    for (const { severity } of this.#open.values()) counts[severity] = (counts[severity] ?? 0) + 1;
    return counts;
  }
}
