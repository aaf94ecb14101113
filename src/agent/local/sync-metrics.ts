import type { MetricFamily } from "../../core/metrics.ts";
import { counter, gauge } from "./metric-families.ts";

export interface SyncMetricsSource {
  state: string;
  transport: string | null;
  lagRows: number;
  backlogRows: number;
  reconnects: number;
  counts: { unknownFrames: number; receiptsVerified: number; receiptsWrong: number; hubLosses: number };
}

/** What there is to count of the way to the hub. */
export function syncMetrics(source: SyncMetricsSource): MetricFamily[] {
  const { state, transport, lagRows, backlogRows, reconnects, counts } = source;
  const { unknownFrames, receiptsVerified, receiptsWrong, hubLosses } = counts;
  return [
    gauge("holdfast_agent_sync_online", "1 while connected to the hub", state === "online" ? 1 : 0),
    {
      name: "holdfast_agent_sync_transport",
      help: "1 for what carries the session with the hub, if there is one",
      type: "gauge",
      values: ["grpc", "mqtt"].map((name) => ({
        labels: { transport: name },
        value: transport === name ? 1 : 0,
      })),
    },
    gauge("holdfast_agent_sync_lag_rows", "Rows the hub does not have yet", lagRows),
    gauge(
      "holdfast_agent_sync_backlog_rows",
      "Of those, rows of closed segments, which drain behind fresh ones",
      backlogRows,
    ),
    counter(
      "holdfast_agent_sync_reconnects_total",
      "Times the connection to the hub was made again",
      reconnects,
    ),
    counter(
      "holdfast_agent_sync_unknown_frames_total",
      "Frames of the hub that this version does not know, and passed over",
      unknownFrames,
    ),
    {
      name: "holdfast_agent_sync_receipts_total",
      help: "Acknowledgements of the hub by what their receipt was",
      type: "counter",
      values: [
        { labels: { result: "verified" }, value: receiptsVerified },
        { labels: { result: "wrong" }, value: receiptsWrong },
      ],
    },
    counter(
      "holdfast_agent_sync_hub_losses_total",
      "Streams of which the hub came back without rows that it had signed to hold",
      hubLosses,
    ),
  ];
}
