import { isoTime } from "../../core/iso-time.ts";
import {
  celValue,
  compileExpression,
  type Expression,
  type ExpressionContext,
} from "../../model/expression.ts";
import type { Json, JsonObject } from "../../model/json.ts";
import type { PipelineDefinition, StepDefinition } from "../../model/pipeline.ts";
import { failureOf } from "../../model/run-ending.ts";
import { hasEnded, type StepRow } from "../../model/run.ts";
import { referencesOf } from "../../model/expression-references.ts";
import { compileTemplate, type Template, templateSources } from "../../model/template.ts";
import type { HeldRun, RunValues } from "./held-run.ts";
import type { RunMemoryPort, SharedParametersPort } from "./ports.ts";

/** A text or value that may hold `${{ }}`. */
export type Resolve<T> = (context: () => ExpressionContext) => T;

/** What is evaluated before a step begins, compiled once for each definition. */
export interface CompiledStep {
  when: Expression | null;
  items: Expression | null;
  input: Resolve<JsonObject>;
  /** Names of the secrets that the input uses. */
  secrets: string[];
  lock: Resolve<string> | null;
  destination: Resolve<string> | null;
  question: Resolve<string> | null;
}

/** Resolves what steps are given: `with`, `when`, `foreach`, names of locks and destinations, texts of approvals. */
export class StepInputs {
  readonly #agent: unknown;
  readonly #memory: RunMemoryPort | undefined;
  readonly #parameters: SharedParametersPort | undefined;
  readonly #secretPlace: ((name: string) => string) | undefined;
  readonly #compiled = new WeakMap<StepDefinition, CompiledStep>();
  readonly #remembering = new WeakMap<PipelineDefinition, boolean>();

  constructor(
    agent: { id: string; labels: Record<string, string> },
    shared: {
      memory?: RunMemoryPort | undefined;
      parameters?: SharedParametersPort | undefined;
      secretPlace?: ((name: string) => string) | undefined;
    } = {},
  ) {
    this.#agent = celValue(agent);
    this.#memory = shared.memory;
    this.#parameters = shared.parameters;
    this.#secretPlace = shared.secretPlace;
  }

  /** Resolves when `memory` is at hand for the steps of this run; null when there is nothing to wait for. */
  unready({ definition }: HeldRun): Promise<void> | null {
    let remembers = this.#remembering.get(definition);
    if (remembers === undefined) {
      // The word may mean something else: then a namespace is read for nothing.
      remembers = this.#memory !== undefined && JSON.stringify(definition).includes("memory");
      this.#remembering.set(definition, remembers);
    }
    return remembers ? this.#memory!.ready(definition.namespace) : null;
  }

  /** Throws when an expression of it does not compile. */
  compiled(definition: StepDefinition): CompiledStep {
    let compiled = this.#compiled.get(definition);
    if (compiled === undefined) {
      compiled = {
        when: definition.when === null ? null : compileExpression(definition.when),
        items: definition.foreach === null ? null : compileExpression(definition.foreach.in),
        input: definition.literal
          ? () => definition.with
          : (resolver(definition.with, "with") as Resolve<JsonObject>),
        secrets: definition.literal ? [] : secretNames(definition.with),
        lock: definition.exclusive && textResolver(definition.exclusive.lock, "exclusive.lock"),
        destination:
          definition.breaker && textResolver(definition.breaker.destination, "breaker.destination"),
        question: definition.approval && textResolver(definition.approval.text, "approval.text"),
      };
      this.#compiled.set(definition, compiled);
    }
    return compiled;
  }

  /** Everything that an expression of this step, or with null of the run, may name. */
  context(held: HeldRun, step: StepRow | null, definition?: CompiledStep): ExpressionContext {
    const values = (held.values ??= runValues(held));
    const origin = step?.extra?.undoes === undefined ? step : (held.steps.get(step.extra.undoes) ?? step);
    const item = origin?.extra?.foreach;
    const failure = step?.part === "steps" ? null : failureFacts(held);
    return {
      event: values.event,
      agent: this.#agent,
      params: this.#withShared(held.definition.namespace, values.params),
      run: values.run,
      ...(step && this.#memory ? { memory: this.#memory.values(held.definition.namespace) } : {}),
      steps:
        item !== undefined && origin !== step
          ? { ...values.steps, [item.step]: stepValue(origin!) }
          : values.steps,
      ...(item ? { item: { value: celValue(item.value), index: BigInt(item.index) } } : {}),
      ...(failure ? { failure } : {}),
      // What is told of a step (its destination, say) shows that there is one.
      ...(definition ? { secrets: Object.fromEntries(definition.secrets.map((name) => [name, "***"])) } : {}),
    };
  }

  /** The same for an action's input, in which places stand for secrets. A step that an action added has none. */
  inputContext(context: ExpressionContext, { secrets }: CompiledStep, step: StepRow): ExpressionContext {
    const place = this.#secretPlace;
    if (secrets.length === 0 || place === undefined || step.extra?.definition) return context;
    return { ...context, secrets: Object.fromEntries(secrets.map((name) => [name, place(name)])) };
  }

  /** Context of what is resolved before a run is there: its key and its lock. */
  before(event: unknown, params: Json, namespace: string): ExpressionContext {
    const given = this.#withShared(namespace, celValue(params));
    return { event: celValue(event), agent: this.#agent, params: given };
  }

  /** What was given to the run over what it finds; the latter is as it is now, and is not kept with the run. */
  #withShared(namespace: string, given: unknown): unknown {
    if (this.#parameters === undefined) return given;
    const found = this.#parameters.cel(namespace);
    if (given === null || given === undefined) return found;
    return typeof given === "object" && !Array.isArray(given) ? { ...found, ...given } : given;
  }
}

/** Keeps what expressions see in step with the rows. */
export function noteEnded(held: HeldRun, steps: StepRow[]): void {
  if (held.values === null) return;
  for (const step of steps) {
    if (hasEnded(step.state) && step.extra?.foreach === undefined) {
      held.values.steps[step.stepId] = stepValue(step);
    }
  }
}

/** The list that a `foreach` gives. */
export function itemsOf(items: Expression, context: ExpressionContext): unknown[] {
  const result = items.evaluate(context);
  if (result.kind !== "value") throw new Error(`foreach: ${items.source}: ${result.message}`);
  if (!Array.isArray(result.value))
    throw new Error(`foreach: ${items.source}: gave ${kindOf(result.value)}, not a list`);
  return result.value;
}

/** Whether a step's `when` holds. */
export function holds(when: Expression, context: ExpressionContext): boolean {
  const result = when.evaluate(context);
  if (result.kind !== "value") throw new Error(`when: ${when.source}: ${result.message}`);
  if (typeof result.value !== "boolean")
    throw new Error(`when: ${when.source}: gave ${kindOf(result.value)}, not bool`);
  return result.value;
}

/** A value without templates is given as it is, each time the same. */
export function resolver(value: Json, path: string): Resolve<Json> {
  if (!JSON.stringify(value).includes("${{")) return () => value;
  const template: Template = compileTemplate(value, path);
  return (context) => template.resolve(context());
}

export function textResolver(text: string, path: string): Resolve<string> {
  const resolve = resolver(text, path);
  return (context) => {
    const value = resolve(context);
    return typeof value === "string" ? value : JSON.stringify(value);
  };
}

/** Secrets that an input names. */
function secretNames(input: Json): string[] {
  const references = templateSources(input).flatMap(({ source }) => referencesOf(source));
  return references.flatMap(({ name, key }) => (name === "secrets" && key !== null ? [key] : []));
}

function runValues({ run, event, steps }: HeldRun): RunValues {
  const values: RunValues = {
    event: celValue(event),
    params: celValue(run.params),
    run: celValue({
      id: run.id,
      pipeline: run.pipeline,
      rule: run.rule,
      starter: { kind: run.starter.kind, by: run.starter.by },
      created: isoTime(run.createdMs),
    }),
    steps: {},
  };
  for (const step of steps.values()) {
    if (hasEnded(step.state) && step.extra?.foreach === undefined)
      values.steps[step.stepId] = stepValue(step);
  }
  return values;
}

function stepValue({ state, output, error }: StepRow): unknown {
  return { state, output: celValue(output), error: error && { code: error.code, message: error.message } };
}

/** The facts of why the run does not succeed: the step that went wrong, or what stopped the run. */
function failureFacts({ run, steps }: HeldRun): Record<string, unknown> | null {
  const failed = failureOf({ rows: () => steps.values() }, "steps");
  if (failed !== null) {
    const { stepId, state, error, reason } = failed;
    return { step: stepId, state, message: error?.message ?? reason ?? state, code: error?.code ?? state };
  }
  if (run.stop === null) return null;
  return { step: "", state: run.stop.state, message: run.stop.reason, code: run.stop.state };
}

function kindOf(value: unknown): string {
  if (value === null || value === undefined) return "null";
  return value instanceof Map ? "map" : typeof value === "bigint" ? "int" : typeof value;
}
