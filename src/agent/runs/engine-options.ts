import type { Clock } from "../../core/clock.ts";
import type { Ids } from "../../core/ids.ts";
import type { Logger } from "../../core/logger.ts";
import type { Effect, PipelineDefinition } from "../../model/pipeline.ts";
import type {
  ActionPort,
  BrakePort,
  LaterPort,
  RunMemoryPort,
  RunStorePort,
  SharedParametersPort,
} from "./ports.ts";

export interface RunCounters {
  started: number;
  /** Ended runs by state. */
  ended: Record<string, number>;
  attempts: number;
  /** Attempts whose outcome is unknown. */
  unknown: number;
  /** Results that came with an old fence and were refused. */
  stale: number;
  /** Runs that people wanted to start and that were refused because there were too many. */
  refused: number;
  /** Attempts that a cap on side effects held back. */
  limited: number;
  /** Runs that took longer than their pipeline's `warn_after`. */
  overdue: number;
}

export interface EngineOptions {
  store: RunStorePort;
  actions: ActionPort;
  pipelines: Map<string, PipelineDefinition>;
  agent: { id: string; labels: Record<string, string> };
  /** Hash of the configuration in force; it is kept with each run that comes into being. */
  config?: string;
  /** What an action declares; undefined when there is no such action. */
  effectOf: (action: string) => Effect | undefined;
  /** What expressions see as `memory`. */
  memory?: RunMemoryPort;
  /** What runs find as parameters. */
  parameters?: SharedParametersPort;
  /** What stands for a secret in the input of an action. */
  secretPlace?: (name: string) => string;
  /** Keeps the runs that actions put off; without it there are none. */
  later?: LaterPort;
  /** Holds back what no person started; without it nothing is. */
  brake?: BrakePort;
  /** Of a local user, for `user:NAME` among approvers. */
  uidOf: (name: string) => number | undefined;
  clock: Clock;
  ids: Ids;
  log: Logger;
  /** Steps that may run at once. */
  maxSteps: number;
  /** Bytes of JSON of a step's output that are kept. */
  maxOutputBytes: number;
  /** Open runs from which on triggers are held back and people refused. */
  maxOpenRuns: number;
  /** Attempts of actions in an hour by runs that rules start. */
  maxSideEffects: number;
}
