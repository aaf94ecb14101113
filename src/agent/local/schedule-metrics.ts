import type { MetricFamily } from "../../core/metrics.ts";
import { byLabel, counter, gauge } from "./metric-families.ts";

export interface ScheduleMetricsSource {
  counters: { fired: number; missed: number; problems: number };
  /** Schedules by state. */
  states: Record<string, number>;
  later: { counters: { started: number; refused: number; cancelled: number }; waiting: number };
}

const NOTHING: ScheduleMetricsSource = {
  counters: { fired: 0, missed: 0, problems: 0 },
  states: {},
  later: { counters: { started: 0, refused: 0, cancelled: 0 }, waiting: 0 },
};
const STATES = ["active", "paused", "disabled", "ended"];

export function scheduleMetrics(source: ScheduleMetricsSource | null): MetricFamily[] {
  const { counters, states, later } = source ?? NOTHING;
  return [
    byLabel(
      "gauge",
      "holdfast_agent_schedules",
      "Schedules, by state",
      "state",
      Object.fromEntries(STATES.map((state) => [state, states[state] ?? 0])),
    ),
    counter("holdfast_agent_schedules_fired_total", "Due times that schedules fired for", counters.fired),
    counter("holdfast_agent_schedules_missed_total", "Due times for which nothing fired", counters.missed),
    counter(
      "holdfast_agent_schedules_problems_total",
      "Due times whose pipeline could not be started",
      counters.problems,
    ),
    gauge("holdfast_agent_later_runs", "Runs that are put off", later.waiting),
    byLabel(
      "counter",
      "holdfast_agent_later_runs_ended_total",
      "Runs that were put off, by what became of them",
      "state",
      later.counters,
    ),
  ];
}
