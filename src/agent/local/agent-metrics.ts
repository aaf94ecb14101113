import type { Histogram } from "../../core/histogram.ts";
import type { MetricFamily } from "../../core/metrics.ts";
import type { PartStatus } from "../../model/agent-status.ts";
import { RESOURCE_NAMES, type ResourceName, type ResourceUses } from "../../model/resource-use.ts";
import type { Protections } from "../../model/protection.ts";

export interface AgentMetricsSource {
  version: string;
  uptimeSeconds: number;
  events: { events: number; duplicates: number; refused: number };
  rules: {
    rule: string;
    counters: { evaluated: number; matched: number; skipped: number; cooled: number; errors: number };
  }[];
  runs: { started: number; ended: Record<string, number>; attempts: number; unknown: number; stale: number };
  openRuns: number;
  stepsInFlight: number;
  store: {
    commits: number;
    operations: number;
    fileBytes: number;
    unacknowledged: Record<string, number>;
    events: number;
  };
  parts: PartStatus[];
  sync: { state: string; lagRows: number; reconnects: number };
  logLinesDropped: number;
  emitSeconds: Histogram;
  stepSeconds: Histogram;
  workerEnds: { plugin: string; cause: string; count: number }[];
  resources: ResourceUses;
  resourceCounters: {
    warnings: Record<ResourceName, number>;
    overruns: Record<ResourceName, number>;
    reactions: Partial<Record<string, number>>;
  };
  /** Batches of events that wait because of `limits`. */
  batchesWaiting: number;
  protections: Protections | null;
}

/** Everything the agent counts, under Prometheus' naming rules. Labels are names from the configuration: bounded. */
export function agentMetrics(source: AgentMetricsSource): MetricFamily[] {
  const { events, runs, store, sync } = source;
  const counter = (name: string, help: string, value: number): MetricFamily => ({
    name,
    help,
    type: "counter",
    values: [{ value }],
  });
  const gauge = (name: string, help: string, value: number): MetricFamily => ({
    name,
    help,
    type: "gauge",
    values: [{ value }],
  });
  const byLabel = (
    type: "counter" | "gauge",
    name: string,
    help: string,
    label: string,
    values: Record<string, number>,
  ): MetricFamily => ({
    name,
    help,
    type,
    values: Object.entries(values).map(([key, value]) => ({ labels: { [label]: key }, value })),
  });
  return [
    {
      name: "holdfast_agent_info",
      help: "Version of the agent",
      type: "gauge",
      values: [{ labels: { version: source.version }, value: 1 }],
    },
    gauge("holdfast_agent_uptime_seconds", "Seconds since the agent's start", source.uptimeSeconds),
    counter("holdfast_agent_events_total", "Events kept", events.events),
    counter(
      "holdfast_agent_events_duplicate_total",
      "Events dropped because source and id were known",
      events.duplicates,
    ),
    counter("holdfast_agent_events_refused_total", "Events refused", events.refused),
    {
      name: "holdfast_agent_rule_evaluations_total",
      help: "What rules made of events",
      type: "counter",
      values: source.rules.flatMap(({ rule, counters }) =>
        Object.entries(counters)
          .filter((entry): entry is [string, number] => typeof entry[1] === "number")
          .map(([outcome, value]) => ({ labels: { rule, outcome }, value })),
      ),
    },
    counter("holdfast_agent_runs_started_total", "Runs started", runs.started),
    byLabel("counter", "holdfast_agent_runs_ended_total", "Runs ended, by state", "state", runs.ended),
    counter("holdfast_agent_step_attempts_total", "Attempts of steps", runs.attempts),
    counter("holdfast_agent_step_attempts_unknown_total", "Attempts whose outcome is unknown", runs.unknown),
    counter(
      "holdfast_agent_step_results_stale_total",
      "Results refused because their lease had passed on",
      runs.stale,
    ),
    gauge("holdfast_agent_runs_open", "Runs that have not ended", source.openRuns),
    gauge("holdfast_agent_steps_running", "Steps under way", source.stepsInFlight),
    counter("holdfast_agent_store_commits_total", "Transactions committed", store.commits),
    counter("holdfast_agent_store_operations_total", "Operations in these transactions", store.operations),
    gauge("holdfast_agent_store_bytes", "Size of the store's file", store.fileBytes),
    gauge("holdfast_agent_store_events", "Events held", store.events),
    byLabel(
      "gauge",
      "holdfast_agent_outbox_rows",
      "Rows that the hub has not acknowledged",
      "lane",
      store.unacknowledged,
    ),
    {
      name: "holdfast_agent_part_state",
      help: "1 for the state a trigger, action or output is in",
      type: "gauge",
      values: source.parts.map((part) => ({
        labels: { kind: part.kind, name: part.name, state: part.state },
        value: 1,
      })),
    },
    {
      name: "holdfast_agent_part_restarts_total",
      help: "Times a worker was started again",
      type: "counter",
      values: source.parts.map((part) => ({
        labels: { kind: part.kind, name: part.name },
        value: part.restarts,
      })),
    },
    {
      name: "holdfast_agent_worker_ends_total",
      help: "Ends of workers, by what ended them",
      type: "counter",
      values: source.workerEnds.map(({ plugin, cause, count }) => ({
        labels: { plugin, cause },
        value: count,
      })),
    },
    ...resourceMetrics(source),
    {
      name: "holdfast_agent_protection",
      help: "What the kernel holds workers to: 1 for the level that each protection has",
      type: "gauge",
      values: Object.entries(source.protections ?? {}).map(([protection, { level }]) => ({
        labels: { protection, level },
        value: 1,
      })),
    },
    gauge("holdfast_agent_sync_online", "1 while connected to the hub", sync.state === "online" ? 1 : 0),
    gauge("holdfast_agent_sync_lag_rows", "Rows the hub does not have yet", sync.lagRows),
    counter(
      "holdfast_agent_sync_reconnects_total",
      "Times the connection to the hub was made again",
      sync.reconnects,
    ),
    counter(
      "holdfast_agent_log_lines_dropped_total",
      "Log lines lost because the disk was full or slow",
      source.logLinesDropped,
    ),
    {
      name: "holdfast_agent_emit_seconds",
      help: "From a trigger's emit to its commit",
      type: "histogram",
      histogram: source.emitSeconds,
    },
    {
      name: "holdfast_agent_step_seconds",
      help: "From a step's lease to its result",
      type: "histogram",
      histogram: source.stepSeconds,
    },
  ];
}

/** What the agent and its workers use, against `limits` of the configuration. */
function resourceMetrics(source: AgentMetricsSource): MetricFamily[] {
  const { resources, resourceCounters: counters, batchesWaiting } = source;
  const each = (of: (name: ResourceName) => number) =>
    RESOURCE_NAMES.map((resource) => ({ labels: { resource }, value: of(resource) }));
  return [
    {
      name: "holdfast_agent_resource_used",
      help: "What the agent and its workers use together: bytes, and of cpu cores",
      type: "gauge",
      values: each((name) => resources[name].used),
    },
    {
      name: "holdfast_agent_resource_limit",
      help: "What limits of the configuration allow, in the same units",
      type: "gauge",
      values: each((name) => resources[name].limit),
    },
    {
      name: "holdfast_agent_resource_level",
      help: "1 for the level a resource is at: ok, warning or over",
      type: "gauge",
      values: RESOURCE_NAMES.map((resource) => ({
        labels: { resource, level: resources[resource].level },
        value: 1,
      })),
    },
    {
      name: "holdfast_agent_resource_warnings_total",
      help: "Times that four fifths of a limit were reached",
      type: "counter",
      values: each((name) => counters.warnings[name]),
    },
    {
      name: "holdfast_agent_resource_overruns_total",
      help: "Times that a limit was passed",
      type: "counter",
      values: each((name) => counters.overruns[name]),
    },
    {
      name: "holdfast_agent_resource_reactions_total",
      help: "What was done because a limit was passed",
      type: "counter",
      values: Object.entries(counters.reactions).map(([reaction, value]) => ({
        labels: { reaction },
        value: value ?? 0,
      })),
    },
    {
      name: "holdfast_agent_resource_waiting_batches",
      help: "Batches of events that wait because a limit was passed",
      type: "gauge",
      values: [{ value: batchesWaiting }],
    },
  ];
}
