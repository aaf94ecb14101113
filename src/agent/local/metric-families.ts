import type { MetricFamily } from "../../core/metrics.ts";

export function counter(name: string, help: string, value: number): MetricFamily {
  return { name, help, type: "counter", values: [{ value }] };
}

export function gauge(name: string, help: string, value: number): MetricFamily {
  return { name, help, type: "gauge", values: [{ value }] };
}

export function byLabel(
  type: "counter" | "gauge",
  name: string,
  help: string,
  label: string,
  values: Record<string, number>,
): MetricFamily {
  return {
    name,
    help,
    type,
    values: Object.entries(values).map(([key, value]) => ({ labels: { [label]: key }, value })),
  };
}
