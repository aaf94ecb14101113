import type { Histogram } from "./histogram.ts";

/** One metric family as a part reports it; labels must be bounded. */
export type MetricFamily =
  | {
      name: string;
      help: string;
      type: "gauge" | "counter";
      values: { labels?: Record<string, string>; value: number }[];
    }
  | { name: string; help: string; type: "histogram"; histogram: Histogram };

/** Renders families as Prometheus text. The library is loaded at the first scrape: an agent nobody scrapes stays small. */
export async function renderMetrics(
  families: MetricFamily[],
): Promise<{ contentType: string; text: string }> {
  const { Counter, Gauge, Registry } = await import("prom-client");
  const registry = new Registry();
  for (const family of families) {
    if (family.type === "histogram") {
      registry.registerMetric(histogramMetric(family) as never);
      continue;
    }
    const labelNames = [...new Set(family.values.flatMap((value) => Object.keys(value.labels ?? {})))];
    const options = { name: family.name, help: family.help, labelNames, registers: [registry] };
    if (family.type === "gauge") {
      const gauge = new Gauge(options);
      for (const { labels, value } of family.values) gauge.set(labels ?? {}, value);
    } else {
      const counter = new Counter(options);
      for (const { labels, value } of family.values) counter.inc(labels ?? {}, value);
    }
  }
  return { contentType: registry.contentType, text: await registry.metrics() };
}

function histogramMetric({ name, help, histogram }: Extract<MetricFamily, { type: "histogram" }>) {
  let total = 0;
  const buckets = histogram.counts.map((count, index) => {
    total += count;
    return { labels: { le: histogram.bounds[index] ?? "+Inf" }, value: total, metricName: `${name}_bucket` };
  });
  const values = [
    ...buckets,
    { labels: {}, value: histogram.sum, metricName: `${name}_sum` },
    { labels: {}, value: histogram.count, metricName: `${name}_count` },
  ];
  return {
    name,
    help,
    type: "histogram",
    aggregator: "sum",
    get: () => ({ name, help, type: "histogram", values, aggregator: "sum" }),
  };
}
