import type { Cap, HistoryTable, Retention, TrimReason } from "./retention.ts";
import type { StoreParts } from "./store-parts.ts";

/** What the store holds of one table, what it may hold, and what it has let go of. */
export interface HistoryTableStats extends Cap {
  rows: number;
  /** When the oldest row came (of a finding: was resolved), by the host's clock; null when there is none. */
  oldestMs: number | null;
  /** Rows that went, ever, by the reason. */
  trimmed: Record<TrimReason, number>;
}

export interface HistoryStats {
  /** What the file with its log may take. */
  bytes: number;
  tables: Record<HistoryTable, HistoryTableStats>;
}

/** Nothing of it looks through a table. */
export function historyStats(parts: StoreParts, retention: Retention): HistoryStats {
  const { events, runs, rules, dead, trimCounts } = parts;
  const trimmed = trimCounts.trimmed();
  return {
    bytes: retention.bytes,
    tables: {
      events: {
        ...retention.events,
        ...{ rows: events.count(), oldestMs: events.oldestMs(), trimmed: trimmed.events },
      },
      runs: { ...retention.runs, rows: runs.ended(), oldestMs: runs.oldestMs(), trimmed: trimmed.runs },
      findings: {
        ...retention.findings,
        ...{ rows: rules.resolved(), oldestMs: rules.oldestResolvedMs(), trimmed: trimmed.findings },
      },
      dead_letters: {
        ...retention.deadLetters,
        ...{ rows: dead.count(), oldestMs: dead.oldestMs(), trimmed: trimmed.dead_letters },
      },
    },
  };
}
