import type { BackoffPolicy } from "../core/backoff.ts";
import type { JsonObject } from "./json.ts";
import type { LaterDue } from "./schedule-later.ts";

/** What an unknown outcome of an attempt means (DESIGN promise 2). */
export const EFFECTS = ["idempotent", "at-most-once", "ask"] as const;
export type Effect = (typeof EFFECTS)[number];

export interface RetryPolicy extends BackoffPolicy {
  /** Tries in all, the first included. */
  attempts: number;
}

/**
 * A named lock of a namespace, held until the run ends. `queue` waits its turn (first come, first served), `abort` ends
 * the run at once. `lock` may hold `${{ }}` templates.
 */
export interface ExclusiveDefinition {
  lock: string;
  busy: "queue" | "abort";
}

/** Calls to a destination that keeps failing are refused for a while. `destination` may hold `${{ }}` templates. */
export interface BreakerDefinition {
  destination: string;
  /** Failures in a row that open it. */
  failures: number;
  /** Milliseconds that it stays open before one call is let through. */
  delayMs: number;
}

export interface ApprovalDefinition {
  /** What is asked; may hold `${{ }}` templates. */
  text: string;
  /** Unanswered for so long, the step is `timed_out`. */
  timeoutMs: number;
  /** Who may answer: `local:<uid>`, `user:<name>` (a local user's name), or `*`. */
  approvers: string[];
  /** Who started the run may not approve it. */
  strict: boolean;
}

export interface ForeachDefinition {
  /** CEL that gives a list; each element is one item, seen as `item.value` and `item.index`. */
  in: string;
  /** Items that may be under way at once. */
  concurrency: number;
}

/** What takes a step back when a later one fails. It sees the step's own output as `steps.<id>.output`. */
export interface UndoDefinition {
  action: string;
  with: JsonObject;
  timeoutMs: number;
  retry: RetryPolicy;
  effect: Effect;
}

/** A step as the engine runs it: every default filled in, durations in milliseconds. */
export interface StepDefinition {
  id: string;
  /** `action`: a plugin's; `pipeline`: another pipeline as a run of its own; `approval`: a person says yes or no. */
  work: "action" | "pipeline" | "approval";
  /** Action to invoke, pipeline to run, or the word `approval`. */
  action: string;
  /** Steps that must have succeeded, or were left out by their own `when`. */
  needs: string[];
  /** CEL; false leaves the step out, and what needs it goes on. */
  when: string | null;
  foreach: ForeachDefinition | null;
  /** Input of the action, parameters of the pipeline. */
  with: JsonObject;
  /** The texts of `with` are no templates: they may come from outside. */
  literal?: boolean;
  /** One attempt. */
  timeoutMs: number;
  /** All attempts and the waits between them, from the first lease; null is no bound but the attempts. */
  deadlineMs: number | null;
  retry: RetryPolicy;
  effect: Effect;
  undo: UndoDefinition | null;
  exclusive: ExclusiveDefinition | null;
  breaker: BreakerDefinition | null;
  approval: ApprovalDefinition | null;
}

export const PARAMETER_TYPES = ["string", "int", "number", "bool", "duration", "list", "object"] as const;
export type ParameterType = (typeof PARAMETER_TYPES)[number];

/** A parameter that a pipeline declares. A pipeline that declares none takes any. */
export interface ParameterDefinition {
  name: string;
  type: ParameterType;
  description: string;
  required: boolean;
  /** Null when there is none. */
  default: unknown;
  /** RE2 that the whole text of a string must match. */
  pattern: string | null;
  choices: string[] | null;
}

/** An immutable version of a pipeline, kept by the hash of its content while runs refer to it. */
export interface PipelineDefinition {
  name: string;
  namespace: string;
  description: string;
  params: ParameterDefinition[];
  /** Runs of this pipeline that may be under way at once. */
  concurrency: number;
  /** Runs with the same key that may be under way at once; the key may hold `${{ }}` templates over event and params. */
  concurrencyByKey: { key: string; limit: number } | null;
  /** Higher ones get free places first; among equals the older. */
  priority: number;
  /** From the run's start; then it is ended as `timed_out`, and `finally` and `on_failure` still run. */
  deadlineMs: number | null;
  /** A run that takes longer is warned about. */
  warnAfterMs: number | null;
  /** Held from the run's start. */
  exclusive: ExclusiveDefinition | null;
  /** Attempts of actions per hour by runs that rules start; null is the agent's own cap only. */
  sideEffectsPerHour: number | null;
  /** Template of the run's output, resolved when every step is done; null gives none. */
  output: JsonObject | null;
  steps: StepDefinition[];
  /** One after the other, in order, when the run did not succeed. */
  onFailure: StepDefinition[];
  /** Always, one after the other, the last one first, before `onFailure`. */
  finally: StepDefinition[];
}

/** Steps that a running action asks for (rows G-02, G-03). */
export interface Addition {
  /**
   * `add`: after this step and what it added before, ahead of what needs it; `finally`: at the end, the newest first;
   * `onFailure`: at the end of a run that fails, in order; `spawn`: a run of its own that nobody waits for;
   * `later`: such a run, when it is `due`.
   */
  kind: "add" | "finally" | "onFailure" | "spawn" | "later";
  /** Action, or with `pipeline: true` (always for `spawn` and `later`) the name of a pipeline. */
  action: string;
  pipeline: boolean;
  with: JsonObject;
  /** The texts of `with` may hold `${{ }}` templates; without it they are taken as they are. */
  templates?: boolean;
  /** Of `later`, and only of it. */
  due?: LaterDue;
}

/** Ids of steps that lie on a cycle of `needs`, empty when there is none. */
export function stepsOnCycles(steps: { id: string; needs: string[] }[]): string[] {
  const left = new Map(steps.map((step) => [step.id, new Set(step.needs)]));
  for (;;) {
    const free = [...left].filter(([, needs]) => [...needs].every((need) => !left.has(need)));
    if (free.length === 0) return [...left.keys()];
    for (const [id] of free) left.delete(id);
  }
}
