import type { HistoryStats, Retention } from "./retention.ts";
import type { StoreParts } from "./store-parts.ts";

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
