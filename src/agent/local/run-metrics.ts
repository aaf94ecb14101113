import type { MetricFamily } from "../../core/metrics.ts";
import { byLabel, counter, gauge } from "./metric-families.ts";

export interface RunMetricsSource {
  counters: {
    started: number;
    ended: Record<string, number>;
    attempts: number;
    unknown: number;
    stale: number;
    refused: number;
    limited: number;
    overdue: number;
  };
  gauges: {
    states: Record<string, number>;
    runsWaiting: number;
    stepsWaiting: number;
    stepsInFlight: number;
    locksWaiting: number;
    sideEffects: { used: number; cap: number };
    heldBack: { runs: number; steps: number };
    circuitRefusals: number;
    failureRate: number;
  };
  breakers: { destination: string; state: string }[];
}

const OPEN_STATES = ["queued", "waiting", "running"];
const NOTHING: RunMetricsSource = {
  counters: { started: 0, ended: {}, attempts: 0, unknown: 0, stale: 0, refused: 0, limited: 0, overdue: 0 },
  gauges: {
    states: {},
    runsWaiting: 0,
    stepsWaiting: 0,
    stepsInFlight: 0,
    locksWaiting: 0,
    sideEffects: { used: 0, cap: 0 },
    heldBack: { runs: 0, steps: 0 },
    circuitRefusals: 0,
    failureRate: 0,
  },
  breakers: [],
};

/** What the run engine counts. Destinations come from templates, but the engine keeps no more than a thousand. */
export function runMetrics(source: RunMetricsSource | null): MetricFamily[] {
  const { counters, gauges, breakers } = source ?? NOTHING;
  const states = Object.fromEntries(OPEN_STATES.map((state) => [state, gauges.states[state] ?? 0]));
  const open = Object.values(states).reduce((sum, count) => sum + count, 0);
  return [
    counter("holdfast_agent_runs_started_total", "Runs started", counters.started),
    byLabel("counter", "holdfast_agent_runs_ended_total", "Runs ended, by state", "state", counters.ended),
    counter(
      "holdfast_agent_runs_refused_total",
      "Runs that people were refused: too many open",
      counters.refused,
    ),
    counter("holdfast_agent_runs_overdue_total", "Runs that took longer than warn_after", counters.overdue),
    counter("holdfast_agent_step_attempts_total", "Attempts of steps", counters.attempts),
    counter(
      "holdfast_agent_step_attempts_unknown_total",
      "Attempts whose outcome is unknown",
      counters.unknown,
    ),
    counter("holdfast_agent_step_attempts_limited_total", "Attempts that a cap held back", counters.limited),
    counter(
      "holdfast_agent_step_results_stale_total",
      "Results refused because their lease had passed on",
      counters.stale,
    ),
    gauge("holdfast_agent_runs_open", "Runs that have not ended", open),
    byLabel("gauge", "holdfast_agent_runs", "Runs that have not ended, by state", "state", states),
    gauge("holdfast_agent_runs_waiting", "Runs that wait for a place", gauges.runsWaiting),
    gauge(
      "holdfast_agent_runs_failure_ratio",
      "Share of failed ones among the last runs",
      gauges.failureRate,
    ),
    gauge("holdfast_agent_steps_waiting", "Steps that wait for a place", gauges.stepsWaiting),
    gauge("holdfast_agent_steps_running", "Steps under way", gauges.stepsInFlight),
    gauge("holdfast_agent_locks_waiting", "Places in queues of locks that wait", gauges.locksWaiting),
    gauge("holdfast_agent_side_effects", "Attempts by rule-started runs in an hour", gauges.sideEffects.used),
    gauge("holdfast_agent_side_effects_limit", "How many there may be", gauges.sideEffects.cap),
    byLabel(
      "gauge",
      "holdfast_agent_held_back",
      "What the brake holds back: runs that have not begun, steps",
      "what",
      gauges.heldBack,
    ),
    counter(
      "holdfast_agent_circuit_refusals_total",
      "Calls refused by open circuits",
      gauges.circuitRefusals,
    ),
    {
      name: "holdfast_agent_circuit_state",
      help: "1 for the state that the circuit of a destination is in, of those that failed lately",
      type: "gauge",
      values: breakers.map(({ destination, state }) => ({ labels: { destination, state }, value: 1 })),
    },
  ];
}
