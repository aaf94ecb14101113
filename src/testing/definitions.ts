import type { PipelineDefinition, StepDefinition } from "../model/pipeline.ts";

/** A step of tests: an action of the same name, tried once, at most once, unless told otherwise. */
export function step(id: string, options: Partial<StepDefinition> = {}): StepDefinition {
  return {
    id,
    work: "action",
    action: id,
    needs: [],
    when: null,
    foreach: null,
    with: {},
    timeoutMs: 1000,
    deadlineMs: null,
    retry: { attempts: 1, kind: "fixed", initialMs: 1, maxMs: 1 },
    effect: "at-most-once",
    undo: null,
    exclusive: null,
    breaker: null,
    approval: null,
    ...options,
  };
}

export function pipeline(
  steps: StepDefinition[],
  options: Partial<PipelineDefinition> = {},
): PipelineDefinition {
  return {
    name: "p",
    namespace: "default",
    description: "",
    params: [],
    concurrency: 4,
    concurrencyByKey: null,
    priority: 0,
    deadlineMs: null,
    warnAfterMs: null,
    exclusive: null,
    sideEffectsPerHour: null,
    output: null,
    steps,
    onFailure: [],
    finally: [],
    ...options,
  };
}

export function undo(action: string): NonNullable<StepDefinition["undo"]> {
  const { timeoutMs, retry, effect } = step(action);
  return { action, with: {}, timeoutMs, retry, effect };
}
