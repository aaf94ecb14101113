import type { PipelineDefinition, StepDefinition } from "./pipeline.ts";

/**
 * A pipeline version as a store kept it: those of the first schema lack what came later. Their steps of `on_failure` had
 * needs among themselves; they ran in their order, as they do now.
 */
export function storedPipeline(stored: Partial<PipelineDefinition>): PipelineDefinition {
  if (stored.finally !== undefined) return stored as PipelineDefinition;
  return {
    name: stored.name ?? "",
    namespace: stored.namespace ?? "default",
    description: "",
    params: [],
    concurrency: stored.concurrency ?? 1,
    concurrencyByKey: null,
    priority: 0,
    deadlineMs: null,
    warnAfterMs: null,
    exclusive: null,
    sideEffectsPerHour: null,
    output: null,
    steps: (stored.steps ?? []).map(storedStep),
    onFailure: (stored.onFailure ?? []).map((step) => ({ ...storedStep(step), needs: [] })),
    finally: [],
  };
}

/** The first schema knew id, action, needs, with, timeout, retry and effect. */
function storedStep(stored: StepDefinition): StepDefinition {
  return {
    ...stored,
    work: "action",
    when: null,
    foreach: null,
    deadlineMs: null,
    undo: null,
    exclusive: null,
    breaker: null,
    approval: null,
  };
}
