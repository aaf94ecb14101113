import type { Histogram } from "../../core/histogram.ts";
import type { MetricFamily } from "../../core/metrics.ts";
import type { PartStatus } from "../../model/agent-status.ts";
import { RESOURCE_NAMES, type ResourceName, type ResourceUses } from "../../model/resource-use.ts";
import type { Protections } from "../../model/protection.ts";
import { SEVERITIES } from "../../model/event.ts";
import { type HistoryMetricsSource, historyMetrics } from "./history-metrics.ts";
import { byLabel, counter, gauge } from "./metric-families.ts";
import { outputMetrics } from "./output-metrics.ts";
import { runMetrics, type RunMetricsSource } from "./run-metrics.ts";
import { scheduleMetrics, type ScheduleMetricsSource } from "./schedule-metrics.ts";

export interface AgentMetricsSource {
  version: string;
  uptimeSeconds: number;
  events: { events: number; duplicates: number; refused: number };
  rules: {
    rule: string;
    counters: { evaluated: number; matched: number; skipped: number; cooled: number; errors: number };
    keys: number;
  }[];
  ruleTotals: { hops: number; refused: number };
  /** Null for an agent that has nothing to run. */
  runs: RunMetricsSource | null;
  schedules: ScheduleMetricsSource | null;
  store: {
    commits: number;
    operations: number;
    fileBytes: number;
    history: HistoryMetricsSource;
    unacknowledged: Record<string, number>;
    events: number;
    deadLetters: number;
    openFindings: number;
  };
  /** By severity. */
  openFindings: Partial<Record<string, number>>;
  parts: PartStatus[];
  sync: { state: string; lagRows: number; reconnects: number; transport: string | null };
  logLinesDropped: number;
  emitSeconds: Histogram;
  stepSeconds: Histogram;
  workerEnds: { plugin: string; cause: string; count: number }[];
  /** Of the wall clock. */
  clockJumps: number;
  resources: ResourceUses;
  resourceCounters: {
    warnings: Record<ResourceName, number>;
    overruns: Record<ResourceName, number>;
    reactions: Partial<Record<string, number>>;
  };
  /** Batches of events that wait because of `limits`. */
  batchesWaiting: number;
  protections: Protections | null;
  brakeOn: boolean;
  silences: {
    active: number;
    windowsOpen: number;
    heldBack: Record<string, number>;
    each: { silence: string; counts: Record<string, number> }[];
  };
}

/** Everything the agent counts, under Prometheus' naming rules. Labels are names from the configuration: bounded. */
export function agentMetrics(source: AgentMetricsSource): MetricFamily[] {
  const { events, store, sync } = source;
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
    {
      name: "holdfast_agent_rule_keys",
      help: "Keys that a rule remembers something of",
      type: "gauge",
      values: source.rules.map(({ rule, keys }) => ({ labels: { rule }, value: keys })),
    },
    counter(
      "holdfast_agent_rule_events_refused_total",
      "Events of rules that were too large, or too many in one commit",
      source.ruleTotals.refused,
    ),
    counter(
      "holdfast_agent_rule_hops_exceeded_total",
      "Events that rules did not look at because too many others led to them",
      source.ruleTotals.hops,
    ),
    gauge("holdfast_brake_on", "1 while nothing begins that no person started", source.brakeOn ? 1 : 0),
    gauge("holdfast_agent_silences", "Silences that hold", source.silences.active),
    gauge(
      "holdfast_agent_maintenance_windows_open",
      "Maintenance windows that are open",
      source.silences.windowsOpen,
    ),
    byLabel(
      "counter",
      "holdfast_agent_silenced_total",
      "What silences and maintenance windows held back, or marked of findings",
      "what",
      source.silences.heldBack,
    ),
    {
      name: "holdfast_agent_silence_held_back",
      help: "What each silence that holds, and each window that is open, has held back",
      type: "gauge",
      values: source.silences.each.flatMap(({ silence, counts }) =>
        Object.entries(counts).map(([what, value]) => ({ labels: { silence, what }, value })),
      ),
    },
    ...runMetrics(source.runs),
    ...scheduleMetrics(source.schedules),
    counter(
      "holdfast_agent_clock_jumps_total",
      "Jumps of the wall clock by more than 5 minutes",
      source.clockJumps,
    ),
    gauge("holdfast_agent_dead_letters", "Runs that ended badly and were set aside", store.deadLetters),
    gauge("holdfast_agent_findings_open", "Findings that are not resolved", store.openFindings),
    byLabel(
      "gauge",
      "holdfast_agent_findings_open_by_severity",
      "Findings that are not resolved, by severity",
      "severity",
      Object.fromEntries(SEVERITIES.map((severity) => [severity, source.openFindings[severity] ?? 0])),
    ),
    counter("holdfast_agent_store_commits_total", "Transactions committed", store.commits),
    counter("holdfast_agent_store_operations_total", "Operations in these transactions", store.operations),
    gauge("holdfast_agent_store_bytes", "Size of the store's file", store.fileBytes),
    ...historyMetrics(store.history),
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
    ...outputMetrics(source.parts),
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
    {
      name: "holdfast_agent_sync_transport",
      help: "1 for what carries the session with the hub, if there is one",
      type: "gauge",
      values: ["grpc", "mqtt"].map((transport) => ({
        labels: { transport },
        value: sync.transport === transport ? 1 : 0,
      })),
    },
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
