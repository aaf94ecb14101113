import { parseDuration } from "../../core/duration.ts";
import type { PipelineConfig, StepConfig } from "../../model/config-pipeline.ts";
import type { RuleConfig } from "../../model/config-rule.ts";
import type { Config } from "../../model/config.ts";
import type { Json, JsonObject } from "../../model/json.ts";
import type {
  BreakerDefinition,
  Effect,
  ExclusiveDefinition,
  ParameterDefinition,
  PipelineDefinition,
  RetryPolicy,
  StepDefinition,
  UndoDefinition,
} from "../../model/pipeline.ts";
import type { RuleDefinition, RuleOutcome } from "../../model/rule.ts";
import type { ScheduleDefinition } from "../../model/schedule.ts";
import { parseTiming, zoneCache } from "../../model/schedule-timing.ts";

/** Every schedule with its times worked out. `hostZone`: where no zone is named. */
export function scheduleDefinitions(config: Config, hostZone: () => string): ScheduleDefinition[] {
  const zoneOf = zoneCache(hostZone);
  return config.schedules.map((schedule) => ({
    name: schedule.name,
    enabled: schedule.enabled,
    timing: parseTiming(schedule, zoneOf),
    run: schedule.run ?? null,
    params: schedule.params as Json,
    missed: schedule.missed,
    maxMissed: schedule.max_missed,
    spreadMs: parseDuration(schedule.spread),
  }));
}

type EffectOf = (action: string) => Effect;

/** Every rule, as the engine reads it; those that are not enabled never fire. */
export function ruleDefinitions(config: Config): RuleDefinition[] {
  return config.rules.map(ruleDefinition);
}

function ruleDefinition(rule: RuleConfig): RuleDefinition {
  const { window, sequence, absence, throttle } = rule;
  return {
    name: rule.name,
    enabled: rule.enabled,
    namespace: rule.namespace,
    priority: rule.priority,
    on: listOf(rule.on),
    types: listOf(rule.type ?? []),
    when: rule.when ?? null,
    by: rule.by ?? null,
    window: window
      ? {
          overMs: parseDuration(window.over),
          compute: window.compute,
          of: window.of ?? null,
          is: window.is,
        }
      : null,
    sequence: sequence
      ? {
          withinMs: parseDuration(sequence.within),
          steps: sequence.steps.map(({ type, when }) => ({ types: listOf(type ?? []), when: when ?? null })),
        }
      : null,
    absence: absence ? { forMs: parseDuration(absence.for) } : null,
    debounceMs: parseDuration(rule.debounce),
    throttle: throttle ? { count: throttle.count, perMs: parseDuration(throttle.per) } : null,
    cooldownMs: parseDuration(rule.cooldown),
    outcomes: outcomes(rule),
  };
}

function outcomes({ run, params, emit, finding }: RuleConfig): RuleOutcome[] {
  const all: RuleOutcome[] = [];
  if (run !== undefined) all.push({ kind: "run", pipeline: run, params: params as Json });
  if (emit) {
    const { type, subject, severity, data } = emit;
    all.push({
      kind: "emit",
      type,
      subject: subject ?? null,
      severity: severity ?? null,
      data: data as Json,
    });
  }
  if (finding) {
    const { severity, title, key, data, resolved_when, resolve_after } = finding;
    all.push({
      kind: "finding",
      severity,
      title,
      key: key ?? null,
      data: data as Json,
      resolvedWhen: resolved_when ?? null,
      ...(resolve_after === undefined ? {} : { resolveAfterMs: parseDuration(resolve_after) }),
    });
  }
  return all;
}

function listOf(value: string | string[]): string[] {
  return typeof value === "string" ? [value] : value;
}

/**
 * Pipelines by name, every default filled in. `effectOf` says what an action declares; the step's own word goes first.
 */
export function pipelineDefinitions(config: Config, effectOf: EffectOf): Map<string, PipelineDefinition> {
  return new Map(
    Object.entries(config.pipelines).map(([name, pipeline]) => [
      name,
      pipelineDefinition(name, pipeline, effectOf),
    ]),
  );
}

function pipelineDefinition(name: string, pipeline: PipelineConfig, effectOf: EffectOf): PipelineDefinition {
  const step = (each: StepConfig) => stepDefinition(each, effectOf);
  const { params, concurrency_by_key: byKey } = pipeline;
  return {
    name,
    namespace: pipeline.namespace,
    description: pipeline.description,
    params: Object.entries(params ?? {}).map(([key, parameter]) => parameterDefinition(key, parameter)),
    concurrency: pipeline.concurrency,
    concurrencyByKey: byKey ? { key: byKey.key, limit: byKey.limit } : null,
    priority: pipeline.priority,
    deadlineMs: durationOr(pipeline.deadline, null),
    warnAfterMs: durationOr(pipeline.warn_after, null),
    exclusive: exclusiveOf(pipeline.exclusive),
    sideEffectsPerHour: pipeline.side_effects_per_hour ?? null,
    output: (pipeline.output as JsonObject | undefined) ?? null,
    steps: pipeline.steps.map(step),
    onFailure: pipeline.on_failure.map(step),
    finally: pipeline.finally.map(step),
  };
}

type ParameterConfig = NonNullable<PipelineConfig["params"]>[string];

function parameterDefinition(name: string, parameter: ParameterConfig): ParameterDefinition {
  const { type, description, required, default: fallback, pattern, choices } = parameter;
  return {
    name,
    type,
    description,
    required: required ?? fallback === undefined,
    default: fallback ?? null,
    pattern: pattern ?? null,
    choices: choices ?? null,
  };
}

function stepDefinition(step: StepConfig, effectOf: EffectOf): StepDefinition {
  const { approval, foreach, undo } = step;
  const work = step.pipeline !== undefined ? "pipeline" : approval ? "approval" : "action";
  const action = step.pipeline ?? step.action ?? "approval";
  return {
    id: step.id,
    work,
    action,
    needs: [...new Set(step.needs)],
    when: step.when ?? null,
    foreach:
      foreach === undefined ? null : typeof foreach === "string" ? { in: foreach, concurrency: 10 } : foreach,
    with: step.with as JsonObject,
    timeoutMs: parseDuration(step.timeout),
    deadlineMs: durationOr(step.deadline, null),
    retry: retryPolicy(step.retry),
    effect: work === "action" ? (step.effect ?? effectOf(action)) : "idempotent",
    undo: undo ? undoDefinition(undo, effectOf) : null,
    exclusive: exclusiveOf(step.exclusive),
    breaker: breakerOf(step),
    approval: approval
      ? {
          text: approval.text,
          timeoutMs: parseDuration(approval.timeout),
          approvers: approval.approvers,
          strict: approval.strict,
        }
      : null,
  };
}

function undoDefinition(undo: NonNullable<StepConfig["undo"]>, effectOf: EffectOf): UndoDefinition {
  return {
    action: undo.action,
    with: undo.with as JsonObject,
    timeoutMs: parseDuration(undo.timeout),
    retry: retryPolicy(undo.retry),
    effect: undo.effect ?? effectOf(undo.action),
  };
}

function retryPolicy(retry: StepConfig["retry"]): RetryPolicy {
  return {
    attempts: retry.attempts,
    kind: retry.backoff,
    initialMs: parseDuration(retry.initial),
    maxMs: parseDuration(retry.max),
  };
}

function exclusiveOf(exclusive: StepConfig["exclusive"]): ExclusiveDefinition | null {
  return exclusive ? { lock: exclusive.lock, busy: exclusive.busy } : null;
}

/** A step that calls an address has a breaker for where it goes, also when the configuration does not name one. */
function breakerOf({ breaker, with: input }: StepConfig): BreakerDefinition | null {
  const { url } = input as { url?: unknown };
  const destination = breaker?.destination ?? url;
  if (typeof destination !== "string") return null;
  const { failures = 5, delay = "30s" } = breaker ?? {};
  return { destination, failures, delayMs: parseDuration(delay) };
}

function durationOr<T>(text: string | undefined, fallback: T): number | T {
  return text === undefined ? fallback : parseDuration(text);
}
