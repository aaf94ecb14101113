import type { MetricFamily } from "../../core/metrics.ts";
import { gauge } from "./metric-families.ts";

export interface OutboxMetricsSource {
  unacknowledged: Record<string, number>;
  outbox: {
    bytes: number;
    cap: { rows: number; bytes: number };
    /** By class and reason. */
    lost: Record<string, Partial<Record<string, number>>>;
  };
}

/** What waits for the hub, against `sync.outbox` of the configuration, and what was given up. */
export function outboxMetrics({ unacknowledged, outbox }: OutboxMetricsSource): MetricFamily[] {
  const { bytes, cap, lost } = outbox;
  return [
    {
      name: "holdfast_agent_outbox_rows",
      help: "Rows that the hub has not acknowledged",
      type: "gauge",
      values: Object.entries(unacknowledged).map(([lane, value]) => ({ labels: { lane }, value })),
    },
    gauge("holdfast_agent_outbox_bytes", "Bytes of the rows that the hub has not acknowledged", bytes),
    gauge("holdfast_agent_outbox_rows_limit", "How many of them sync.outbox.rows allows", cap.rows),
    gauge("holdfast_agent_outbox_bytes_limit", "What sync.outbox.size allows them", cap.bytes),
    {
      name: "holdfast_outbox_lost_rows_total",
      help: "Rows that the hub never gets, since the store began",
      type: "counter",
      values: Object.entries(lost).flatMap(([name, reasons]) =>
        Object.entries(reasons).map(([reason, value]) => ({
          labels: { class: name, reason },
          value: value ?? 0,
        })),
      ),
    },
  ];
}
