import { statSync } from "node:fs";
import { type Check, startHealthPort } from "../core/health-port.ts";
import type { Histogram } from "../core/histogram.ts";
import type { ListenAddress } from "../core/listen.ts";
import { type MetricFamily, renderMetrics } from "../core/metrics.ts";
import { VERSION } from "../core/version.ts";

export type HubPhase = "starting" | "running" | "draining";

/** What the health port asks of the parts. */
export interface HubHealthOptions {
  listen: ListenAddress;
  phase: () => HubPhase;
  uptimeSeconds: () => number;
  hubId: string;
  database: string;
  store: {
    counts(): Promise<{ agents: number; events: number; runs: number; records: number }>;
    writer(): { commitSeconds: Histogram; operations: number; waiting: number; problem: string | null };
  };
  /** Families of the parts that count by themselves. */
  families: () => MetricFamily[];
  logLinesDropped: () => number;
}

/** The hub's health port (DESIGN section 11): loopback, four paths. */
export function startHubHealth(options: HubHealthOptions): { url: string; stop(): Promise<void> } {
  return startHealthPort({
    what: "the hub's health port",
    listen: options.listen,
    setting: "--health",
    checks: () => checks(options),
    summary: () => ({ hub: options.hubId, version: VERSION, phase: options.phase() }),
    metrics: async () => await renderMetrics([...(await ownFamilies(options)), ...options.families()]),
  });
}

function checks({ store, phase }: HubHealthOptions): Check[] {
  const { problem } = store.writer();
  const stage = phase();
  return [
    problem === null
      ? { name: "store", state: "ok" }
      : { name: "store", state: "failed", reason: `the last commit failed: ${problem}` },
    stage === "running" ? { name: "sync", state: "ok" } : { name: "sync", state: "failed", reason: stage },
    stage === "running" ? { name: "api", state: "ok" } : { name: "api", state: "failed", reason: stage },
  ];
}

async function ownFamilies(options: HubHealthOptions): Promise<MetricFamily[]> {
  const { agents, events, runs, records } = await options.store.counts();
  const { commitSeconds, operations, waiting } = options.store.writer();
  const gauge = (name: string, help: string, value: number): MetricFamily => {
    return { name: `holdfast_hub_${name}`, help, type: "gauge", values: [{ value }] };
  };
  const counter = (name: string, help: string, value: number): MetricFamily => {
    return { name: `holdfast_hub_${name}_total`, help, type: "counter", values: [{ value }] };
  };
  return [
    {
      name: "holdfast_hub_build_info",
      help: "Version of the hub",
      type: "gauge",
      values: [{ labels: { version: VERSION, bun: Bun.version }, value: 1 }],
    },
    gauge("uptime_seconds", "Seconds since the hub's start", options.uptimeSeconds()),
    gauge("agents", "Agents that are enrolled", agents),
    gauge("events", "Events in the store", events),
    gauge("runs", "Runs in the store", runs),
    gauge("records", "Records in the store, all streams", records),
    gauge("store_bytes", "Size of the database with its write-ahead log", storeBytes(options.database)),
    gauge("store_writes_waiting", "Writes that wait for the next commit", waiting),
    counter("commits", "Transactions committed", commitSeconds.count),
    counter("writes", "Operations committed; several share a transaction", operations),
    {
      name: "holdfast_hub_commit_seconds",
      help: "Time of a transaction",
      type: "histogram",
      histogram: commitSeconds,
    },
    counter(
      "log_lines_dropped",
      "Log lines lost because the disk was full or slow",
      options.logLinesDropped(),
    ),
  ];
}

function storeBytes(file: string): number {
  const sizes = [file, `${file}-wal`].map((path) => statSync(path, { throwIfNoEntry: false })?.size ?? 0);
  return sizes.reduce((sum, size) => sum + size, 0);
}
