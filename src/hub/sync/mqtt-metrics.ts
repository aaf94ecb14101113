import type { MetricFamily } from "../../core/metrics.ts";

/** What there is to count of sessions through a broker. */
export function mqttMetrics(
  sessions: number,
  connected: boolean,
  dropped: ReadonlyMap<string, number>,
): MetricFamily[] {
  return [
    {
      name: "holdfast_hub_mqtt_sessions",
      help: "Open sessions of agents that come through the broker",
      type: "gauge",
      values: [{ value: sessions }],
    },
    {
      name: "holdfast_hub_mqtt_broker_connected",
      help: "1 while the hub has its broker",
      type: "gauge",
      values: [{ value: connected ? 1 : 0 }],
    },
    {
      name: "holdfast_hub_mqtt_dropped_total",
      help: "Messages from the broker that were dropped: altered, forged, replayed, of another session, or no opening",
      type: "counter",
      values: [...dropped].map(([reason, value]) => ({ labels: { reason }, value })),
    },
  ];
}
