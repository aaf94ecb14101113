import type { MetricFamily } from "../../core/metrics.ts";
import { gauge } from "./metric-families.ts";

export interface HistoryMetricsSource {
  bytes: number;
  tables: Record<string, { rows: number; keep: number; ageMs: number; trimmed: Record<string, number> }>;
}

/** What is kept of the past, against `history` of the configuration, and what has gone. */
export function historyMetrics({ bytes, tables }: HistoryMetricsSource): MetricFamily[] {
  const each = (of: (table: HistoryMetricsSource["tables"][string]) => number) =>
    Object.entries(tables).map(([table, stats]) => ({ labels: { table }, value: of(stats) }));
  return [
    {
      name: "holdfast_agent_history_rows",
      help: "Events, ended runs, resolved findings and dead letters that are kept",
      type: "gauge",
      values: each(({ rows }) => rows),
    },
    {
      name: "holdfast_agent_history_rows_limit",
      help: "How many of them history.*.keep allows",
      type: "gauge",
      values: each(({ keep }) => keep),
    },
    {
      name: "holdfast_agent_history_trimmed_total",
      help: "Rows that history let go of, by what bound, since the store began",
      type: "counter",
      values: Object.entries(tables).flatMap(([table, { trimmed }]) =>
        Object.entries(trimmed).map(([reason, value]) => ({ labels: { table, reason }, value })),
      ),
    },
    gauge(
      "holdfast_agent_store_bytes_limit",
      "What history.size and limits.disk allow the store's file",
      bytes,
    ),
  ];
}
