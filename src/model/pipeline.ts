import type { BackoffPolicy } from "../core/backoff.ts";
import type { Json, JsonObject } from "./json.ts";

/** What an unknown outcome of an attempt means (DESIGN promise 2). */
export const EFFECTS = ["idempotent", "at-most-once", "ask"] as const;
export type Effect = (typeof EFFECTS)[number];

export interface RetryPolicy extends BackoffPolicy {
  /** Tries in all, the first included. */
  attempts: number;
}

/** A step as the engine runs it: every default filled in, durations in milliseconds. */
export interface StepDefinition {
  id: string;
  action: string;
  needs: string[];
  with: JsonObject;
  timeoutMs: number;
  retry: RetryPolicy;
  effect: Effect;
}

/** An immutable version of a pipeline, kept by the hash of its content while runs refer to it. */
export interface PipelineDefinition {
  name: string;
  namespace: string;
  /** Runs of this pipeline that may be under way at once. */
  concurrency: number;
  steps: StepDefinition[];
  onFailure: StepDefinition[];
}

export interface RuleDefinition {
  name: string;
  /** Trigger names; `*` is every trigger. */
  on: string[];
  /** Event types; empty means every type. */
  types: string[];
  /** CEL source; undefined is always true. */
  when: string | undefined;
  /** Pipeline to run. */
  run: string;
  cooldownMs: number;
  params: Json;
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
