import type { Clock } from "../../core/clock.ts";
import { HoldfastError, messageOf } from "../../core/errors.ts";
import type { Ids } from "../../core/ids.ts";
import { nearest } from "../../core/nearest.ts";
import type { CloudEvent } from "../../model/event.ts";
import type { Json, JsonObject } from "../../model/json.ts";
import { checkParameters } from "../../model/parameters.ts";
import type { PipelineDefinition } from "../../model/pipeline.ts";
import { type NewRun, newRun } from "../../model/run-build.ts";
import type { ParentStep, Starter } from "../../model/run.ts";
import type { SharedParametersPort } from "./ports.ts";
import { type Resolve, type StepInputs, textResolver } from "./step-input.ts";

export interface RunRequest {
  pipeline: string;
  starter: Starter;
  event: CloudEvent | null;
  params: Json;
  /** Default: the pipeline's. */
  priority?: number;
  /** Rule that it goes back to, though another run begins it. Default: the starter's, when that is a rule. */
  rule?: string | null;
  parent?: ParentStep;
  retryOf?: string;
}

interface Options {
  pipelines: Map<string, PipelineDefinition>;
  inputs: StepInputs;
  /** What runs find where nothing was given to them. */
  shared: SharedParametersPort | undefined;
  /** Hash of the configuration in force. */
  config: string | undefined;
  clock: Clock;
  ids: Ids;
}

/** Makes runs of the pipelines that are configured now. Nothing is durable yet. */
export class RunBuilder {
  readonly #options: Options;
  readonly #hashes = new WeakMap<PipelineDefinition, string>();
  readonly #keys = new WeakMap<PipelineDefinition, Resolve<string>>();
  readonly #events = new WeakMap<NewRun, CloudEvent>();

  constructor(options: Options) {
    this.#options = options;
  }

  has(pipeline: string): boolean {
    return this.#options.pipelines.has(pipeline);
  }

  /** Throws `not_found`, and `invalid` with every problem of the parameters. */
  build(request: RunRequest): NewRun {
    const { pipelines, ids, clock } = this.#options;
    const { event, starter } = request;
    const definition = pipelines.get(request.pipeline) ?? this.#unknown(request.pipeline);
    const params = this.#params(definition, request.params);
    const made = newRun({
      id: ids.next(),
      definition,
      definitionHash: this.#hash(definition),
      rule: request.rule ?? (starter.kind === "rule" ? starter.by : null),
      starter,
      event: event === null ? null : { source: event.source, id: event.id },
      params,
      priority: request.priority ?? definition.priority,
      concurrencyKey: this.#concurrencyKey(definition, event, params),
      parent: request.parent ?? null,
      retryOf: request.retryOf ?? null,
      config: this.#options.config,
      createdMs: clock.wall(),
    });
    if (event !== null) this.#events.set(made, event);
    return made;
  }

  /** The event that a run was built with. */
  eventOf(made: NewRun): CloudEvent | null {
    return this.#events.get(made) ?? null;
  }

  #params(definition: PipelineDefinition, given: Json): Json {
    if (definition.params.length === 0) return given;
    const found = this.#found(definition, (given ?? {}) as JsonObject);
    const checked = checkParameters(definition.params, { ...found, ...(given as JsonObject | null) });
    // What was found is looked up again by each step, and is not kept with the run: it may be secret.
    if ("params" in checked)
      return Object.fromEntries(
        Object.entries(checked.params).filter(([name]) => !Object.hasOwn(found, name)),
      );
    throw new HoldfastError("invalid", `pipeline ${definition.name}: ${checked.problems.join("; ")}`, {
      details: { problems: checked.problems },
    });
  }

  /** Declared parameters that nobody gave and that have no default, where the namespace has them. */
  #found({ params, namespace }: PipelineDefinition, given: JsonObject): JsonObject {
    const shared = this.#options.shared?.json(namespace) ?? {};
    const missing = params.filter(
      (each) => each.default === null && given[each.name] === undefined && Object.hasOwn(shared, each.name),
    );
    return Object.fromEntries(missing.map(({ name }) => [name, shared[name]!]));
  }

  #concurrencyKey(definition: PipelineDefinition, event: CloudEvent | null, params: Json): string | null {
    if (definition.concurrencyByKey === null) return null;
    try {
      let resolve = this.#keys.get(definition);
      if (!resolve) {
        resolve = textResolver(definition.concurrencyByKey.key, "concurrency_by_key.key");
        this.#keys.set(definition, resolve);
      }
      return resolve(() => this.#options.inputs.before(event, params, definition.namespace));
    } catch (error) {
      throw new HoldfastError("invalid", `pipeline ${definition.name}: ${messageOf(error)}`);
    }
  }

  #hash(definition: PipelineDefinition): string {
    let hash = this.#hashes.get(definition);
    if (hash === undefined) {
      hash = new Bun.CryptoHasher("sha256").update(JSON.stringify(definition)).digest("hex");
      this.#hashes.set(definition, hash);
    }
    return hash;
  }

  #unknown(pipeline: string): never {
    const near = nearest(pipeline, [...this.#options.pipelines.keys()]);
    const hint = near === undefined ? "" : `; did you mean ${near}?`;
    throw new HoldfastError("not_found", `there is no pipeline ${pipeline} here${hint}`);
  }
}
