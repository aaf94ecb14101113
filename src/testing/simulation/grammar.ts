import type { Retention } from "../../agent/store/retention.ts";
import type { PipelineDefinition } from "../../model/pipeline.ts";
import type { ScheduleDefinition } from "../../model/schedule.ts";
import { Seeded } from "../seeded.ts";
import { randomPipelines } from "./pipeline-grammar.ts";
import { randomSchedules } from "./schedule-grammar.ts";
import { randomRules, type SimulatedRule } from "./rule-grammar.ts";

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

/** What the simulated agent is configured to do. */
export interface Setting {
  pipelines: Map<string, PipelineDefinition>;
  rules: SimulatedRule[];
  maxSteps: number;
  maxOpenRuns: number;
  maxSideEffects: number;
  retention: Partial<Retention>;
  schedules: ScheduleDefinition[];
}

export function randomSetting(random: Seeded, trims: boolean): Setting {
  const pipelines = randomPipelines(random);
  const names = [...pipelines.keys()];
  return {
    pipelines,
    rules: randomRules(random, names),
    maxSteps: random.pick([1, 2, 4, 16]),
    maxOpenRuns: random.pick([6, 20, 1000]),
    maxSideEffects: random.pick([10, 60, 100_000, 100_000]),
    retention: trims ? smallRetention(random) : {},
    schedules: randomSchedules(random, names, trims),
  };
}

function smallRetention(random: Seeded): Partial<Retention> {
  return {
    acknowledgedRows: random.int(1, 20),
    events: { keep: 10, ageMs: HOUR_MS },
    heldForOutputs: 40,
    runs: { keep: 2, ageMs: DAY_MS },
    deadLetters: { keep: 1, ageMs: DAY_MS },
    findings: { keep: 0, ageMs: DAY_MS },
  };
}
