import type { AttemptEnd, ConfigOrigin, WorkerFacts } from "./attempt-facts.ts";
import type { CloudEvent } from "./event.ts";
import type { Json } from "./json.ts";
import type { PipelineDefinition } from "./pipeline.ts";
import type { AttemptRow, RunRow, StepError, StepRow } from "./run.ts";

/** All that was read to explain a run; what is null is gone, or was never stored. */
export interface ExplainFacts {
  agent: string;
  number: number;
  run: RunRow;
  steps: StepRow[];
  attempts: AttemptRow[];
  definition: PipelineDefinition;
  /** Only this step is told; all without it. */
  step: string | undefined;
  /** The runs that it comes from, the nearest first. `row` null: it is gone from the history. */
  from: { id: string; step: string | null; relation: Relation; row: RunRow | null }[];
  /** From the event that started it to the first of the chain. `event` null: it is gone from the history. */
  events: { source: string | null; id: string; event: CloudEvent | null }[];
  /** Texts by hash, parsed. */
  configs: Record<string, ConfigOrigin>;
  workers: Record<string, WorkerFacts>;
  rules: Record<string, Json>;
  /** What is in force now; null in an agent that has nothing to run. */
  now: ConfigOrigin | null;
  /** What the brake holds back now. `whole`: the run has not begun. */
  heldBack: { reason: string; whole: boolean; steps: string[] } | null;
  /** Name of a user of this host. */
  userName: (uid: number) => string | undefined;
}

/** How a run comes from another: a step waits for it, began it beside itself, put it off; a person repeated it. */
export type Relation = "parent" | "spawn" | "later" | "retry";

export interface Who {
  by: string;
  /** Of `local:UID`, where the host knows it. */
  user: string | null;
}

export interface ExplainedRule {
  name: string;
  /** Hash of its text as it stood then; null: not recorded. */
  version: string | null;
  /** How the rule of this name stands now beside the one of then; null: not known. */
  now: "same" | "changed" | "gone" | null;
  text: Json;
}

export interface ExplainedEvent {
  source: string | null;
  id: string;
  /** Not in the history any more: only what is said of it elsewhere is known. */
  gone: boolean;
  trigger: string | null;
  plugin: string | null;
  /** The rule that emitted it. */
  rule: ExplainedRule | null;
  type: string | null;
  subject: string | null;
  severity: string | null;
  time: string | null;
  data: Json;
  hops: number | null;
}

export interface Explanation {
  agent: string;
  run: {
    n: number;
    id: string;
    pipeline: string;
    /** Hash of the version of the pipeline. */
    version: string;
    state: string;
    reason: string | null;
    params: Json;
    priority: number;
    concurrencyKey: string | null;
    stop: (Who & { state: string; reason: string }) | null;
    createdAt: string;
    startedAt: string | null;
    endedAt: string | null;
    /** What holds the whole run back, or ended it before it had begun. */
    held: string | null;
  };
  steps: ExplainedStep[];
  started: Who & { kind: string; schedule: string | null };
  rule: ExplainedRule | null;
  events: ExplainedEvent[];
  from: {
    id: string;
    step: string | null;
    relation: Relation;
    gone: boolean;
    pipeline: string | null;
    state: string | null;
    started: (Who & { kind: string }) | null;
    createdAt: string | null;
  }[];
  config: { hash: string; inForce: boolean | null } | null;
  /** What could not be told, and why. */
  missing: string[];
}

export interface ExplainedAttempt {
  number: number;
  state: string;
  startedAt: string;
  endedAt: string | null;
  error: StepError | null;
  /** Null: not recorded. */
  worker: WorkerFacts | null;
  /** Null where its process goes on, or nothing was recorded. */
  ended: AttemptEnd | null;
}

/** A person's word on a step. */
export interface ExplainedWord extends Who {
  approved: boolean;
  at: string | null;
  note: string;
}

export interface ExplainedStep {
  step: string;
  part: string;
  action: string;
  work: string;
  effect: string;
  state: string;
  waits: string | null;
  reason: string | null;
  /** Idempotency key of its side effect: the same in every attempt. */
  key: string;
  /** Whether the side effect was made: `yes`, `no`, or `maybe` where an attempt gave no result. */
  done: "yes" | "no" | "maybe";
  startedAt: string | null;
  endedAt: string | null;
  attempts: ExplainedAttempt[];
  /** What was asked of people, and what they said. */
  approval: { text: string; approvers: string[] } | null;
  words: ExplainedWord[];
  /** Run that a step of kind pipeline began. */
  child: string | null;
  /** What held it back or refused it: a limit, a circuit, the brake, a lock. */
  held: string | null;
}
