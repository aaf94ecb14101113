import type { MetricFamily } from "../../core/metrics.ts";
import type { OutputDelivery, PartStatus } from "../../model/agent-status.ts";

/** How far outputs are, and what did not reach them. Labels are names from the configuration, and severities. */
export function outputMetrics(parts: PartStatus[]): MetricFamily[] {
  const outputs = parts.flatMap(({ name, delivery }) => (delivery ? [{ output: name, delivery }] : []));
  const each = (
    type: "gauge" | "counter",
    name: string,
    help: string,
    of: (delivery: OutputDelivery) => number,
  ): MetricFamily => ({
    name,
    help,
    type,
    values: outputs.map(({ output, delivery }) => ({ labels: { output }, value: of(delivery) })),
  });
  return [
    each(
      "gauge",
      "holdfast_output_behind_events",
      "Events that an output has not dealt with",
      (d) => d.behind,
    ),
    each("gauge", "holdfast_output_failures", "Writes that failed in a row", (d) => d.failures),
    each("gauge", "holdfast_output_circuit_open", "1 while a destination that fails is left alone", (d) =>
      d.circuit === "closed" ? 0 : 1,
    ),
    each(
      "counter",
      "holdfast_output_rejected_events_total",
      "Events that a destination refused for good",
      (d) => d.rejected,
    ),
    {
      name: "holdfast_output_lost_events_total",
      help: "Events that were let go because an output was too far behind, by severity",
      type: "counter",
      values: outputs.flatMap(({ output, delivery }) =>
        Object.entries(delivery.lost).map(([severity, value]) => ({ labels: { output, severity }, value })),
      ),
    },
  ];
}
