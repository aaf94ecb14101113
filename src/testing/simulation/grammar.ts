import { DEFAULT_RETENTION, type Retention } from "../../agent/store/retention.ts";
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

/** `gives`: the outbox is so small that rows have to go when the hub is away. */
export function randomSetting(random: Seeded, trims: boolean, gives: boolean): Setting {
  const pipelines = randomPipelines(random);
  const names = [...pipelines.keys()];
  return {
    pipelines,
    rules: randomRules(random, names),
    maxSteps: random.pick([1, 2, 4, 16]),
    maxOpenRuns: random.pick([6, 20, 1000]),
    maxSideEffects: random.pick([10, 60, 100_000, 100_000]),
    // A hub that is restored may ask for everything again, however long ago it was.
    retention: {
      ...(trims
        ? smallRetention(random)
        : { sent: { ...DEFAULT_RETENTION.sent, ageMs: Number.MAX_SAFE_INTEGER } }),
      ...(gives ? { outbox: { rows: 40, bytes: Number.MAX_SAFE_INTEGER, ahead: 16, least: 3 } } : {}),
    },
    schedules: randomSchedules(random, names, trims),
  };
}

function smallRetention(random: Seeded): Partial<Retention> {
  return {
    sent: {
      rows: random.int(1, 20),
      ageMs: Number.MAX_SAFE_INTEGER,
      bytes: Number.MAX_SAFE_INTEGER,
      ends: random.int(0, 1),
    },
    events: { keep: 40, ageMs: HOUR_MS },
    heldForOutputs: 40,
    runs: { keep: 2, ageMs: DAY_MS },
    deadLetters: { keep: 1, ageMs: DAY_MS },
    findings: { keep: 0, ageMs: DAY_MS },
  };
}
