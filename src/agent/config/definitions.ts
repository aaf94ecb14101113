import { parseDuration } from "../../core/duration.ts";
import type { Config, RuleConfig, StepConfig } from "../../model/config.ts";
import type { Json, JsonObject } from "../../model/json.ts";
import type { Effect, PipelineDefinition, RuleDefinition, StepDefinition } from "../../model/pipeline.ts";

/** Rules that are enabled, as the engine reads them. */
export function ruleDefinitions(config: Config): RuleDefinition[] {
  return config.rules.filter((rule) => rule.enabled).map(ruleDefinition);
}

function ruleDefinition(rule: RuleConfig): RuleDefinition {
  return {
    name: rule.name,
    on: listOf(rule.on),
    types: rule.type === undefined ? [] : listOf(rule.type),
    when: rule.when,
    run: rule.run,
    cooldownMs: parseDuration(rule.cooldown),
    params: rule.params as Json,
  };
}

function listOf(value: string | string[]): string[] {
  return typeof value === "string" ? [value] : value;
}

/**
 * Pipelines by name, every default filled in. `effectOf` says what an action declares; the step's own word goes first.
 */
export function pipelineDefinitions(
  config: Config,
  effectOf: (action: string) => Effect,
): Map<string, PipelineDefinition> {
  const step = (each: StepConfig) => stepDefinition(each, effectOf);
  return new Map(
    Object.entries(config.pipelines).map(([name, pipeline]) => [
      name,
      {
        name,
        namespace: pipeline.namespace,
        concurrency: pipeline.concurrency,
        steps: pipeline.steps.map(step),
        onFailure: inOrder(pipeline.on_failure.map(step)),
      },
    ]),
  );
}

function stepDefinition(step: StepConfig, effectOf: (action: string) => Effect): StepDefinition {
  return {
    id: step.id,
    action: step.action,
    needs: [...new Set(step.needs)],
    with: step.with as JsonObject,
    timeoutMs: parseDuration(step.timeout),
    retry: {
      attempts: step.retry.attempts,
      kind: step.retry.backoff,
      initialMs: parseDuration(step.retry.initial),
      maxMs: parseDuration(step.retry.max),
    },
    effect: step.effect ?? effectOf(step.action),
  };
}

/** Steps of `on_failure` run one after the other: each needs the one before it to have ended. */
function inOrder(steps: StepDefinition[]): StepDefinition[] {
  return steps.map((step, index) => {
    const before = steps[index - 1];
    return before === undefined ? step : { ...step, needs: [...new Set([before.id, ...step.needs])] };
  });
}
