import type { Clock } from "../../core/clock.ts";
import { HoldfastError } from "../../core/errors.ts";
import { celValue } from "../../model/cel-value.ts";
import type { Json, JsonObject } from "../../model/json.ts";
import {
  checkParameterName,
  checkParameterValue,
  type ListedParameter,
  MAX_PARAMETERS,
  type ParameterSource,
  type SetParameter,
  shownValue,
} from "../../model/shared-parameter.ts";

/** What is fixed in the configuration. */
export interface FixedParameters {
  global: Map<string, { value: Json; secret: boolean }>;
  namespaces: Map<string, Map<string, { value: Json; secret: boolean }>>;
}

export interface ParameterStorePort {
  parameters(): Promise<SetParameter[]>;
  setParameter(parameter: SetParameter): Promise<void>;
  /** False when there was none. */
  removeParameter(namespace: string | null, name: string): Promise<boolean>;
}

export interface ParametersOptions {
  store: ParameterStorePort;
  fixed: FixedParameters;
  /** What the agent knows by itself: the lowest of all. */
  facts: JsonObject;
  /** Told of every secret value before a run sees it. */
  handedOut?: (value: string) => void;
  clock: Clock;
}

/**
 * Parameters that pipelines share (row G-05): what the agent knows, what the configuration says and what people have set on
 * this agent, for all and by namespace. Each layer wins over those before it.
 */
export class Parameters {
  readonly #options: ParametersOptions;
  readonly #set = new Map<string, SetParameter>();
  /** Values of a namespace, until one of them changes. */
  readonly #values = new Map<string, { json: JsonObject; cel: Record<string, unknown> }>();

  constructor(options: ParametersOptions) {
    this.#options = options;
  }

  async start(): Promise<void> {
    for (const each of await this.#options.store.parameters()) this.#set.set(idOf(each), each);
    this.#values.clear();
  }

  /** What a run of this namespace finds, where nothing else was given to it. */
  json(namespace: string): JsonObject {
    return this.#of(namespace).json;
  }

  /** The same as CEL sees it. Not to be changed. */
  cel(namespace: string): Record<string, unknown> {
    return this.#of(namespace).cel;
  }

  /** Without `namespace` of all. `winning`: only what is seen. By namespace, name and rising precedence. */
  list(namespace: string | undefined, winning: boolean): ListedParameter[] {
    const all = namespace === undefined ? this.#everything() : this.#layers(namespace);
    const seen = new Map<string, number>();
    if (namespace !== undefined) all.forEach(({ name }, index) => seen.set(name, index));
    return all
      .filter(({ name }, index) => !winning || namespace === undefined || seen.get(name) === index)
      .map((each) => ({ ...each, value: shownValue(each) }))
      .toSorted((a, b) => compare(a.name, b.name));
  }

  async set(wanted: Omit<SetParameter, "changedMs">): Promise<void> {
    const { store, clock } = this.#options;
    checkParameterName(wanted.name);
    checkParameterValue(wanted.name, wanted.value);
    if (this.#set.size >= MAX_PARAMETERS && !this.#set.has(idOf(wanted)))
      throw new HoldfastError("exhausted", `${MAX_PARAMETERS} parameters are set: remove some`);
    const parameter = { ...wanted, changedMs: clock.trusted() };
    await store.setParameter(parameter);
    this.#set.set(idOf(wanted), parameter);
    this.#values.clear();
  }

  /** False when it was not set. */
  async remove(namespace: string | null, name: string): Promise<boolean> {
    const removed = await this.#options.store.removeParameter(namespace, name);
    this.#set.delete(idOf({ namespace, name }));
    this.#values.clear();
    return removed;
  }

  #of(namespace: string): { json: JsonObject; cel: Record<string, unknown> } {
    let known = this.#values.get(namespace);
    if (!known) {
      const layers = this.#layers(namespace);
      for (const { secret, value } of layers)
        if (secret && typeof value === "string") this.#options.handedOut?.(value);
      const json = Object.fromEntries(layers.map(({ name, value }) => [name, value]));
      known = { json, cel: celValue(json) as Record<string, unknown> };
      this.#values.set(namespace, known);
    }
    return known;
  }

  /** From the lowest to the highest. */
  #layers(namespace: string): ListedParameter[] {
    const { facts, fixed } = this.#options;
    const set = [...this.#set.values()];
    return [
      ...Object.entries(facts).map(([name, value]) => listed(null, name, { value, secret: false }, "agent")),
      ...[...fixed.global].map(([name, each]) => listed(null, name, each, "configuration, global")),
      ...set.filter((each) => each.namespace === null).map((each) => fromSet(each, "set, global")),
      ...[...(fixed.namespaces.get(namespace) ?? [])].map(([name, each]) =>
        listed(namespace, name, each, "configuration, namespace"),
      ),
      ...set.filter((each) => each.namespace === namespace).map((each) => fromSet(each, "set, namespace")),
    ];
  }

  #everything(): ListedParameter[] {
    const names = [
      ...this.#options.fixed.namespaces.keys(),
      ...[...this.#set.values()].map((each) => each.namespace),
    ];
    const namespaces = [...new Set(names)].filter((each) => each !== null).toSorted();
    const general = this.#layers("").filter((each) => each.namespace === null);
    return [
      ...general,
      ...namespaces.flatMap((each) => this.#layers(each).filter(({ namespace }) => namespace !== null)),
    ];
  }
}

function listed(
  namespace: string | null,
  name: string,
  { value, secret }: { value: Json; secret: boolean },
  source: ParameterSource,
): ListedParameter {
  return { namespace, name, value, secret, source, changedMs: null, changedBy: null };
}

function fromSet({ changedMs, changedBy, ...each }: SetParameter, source: ParameterSource): ListedParameter {
  return { ...each, source, changedMs, changedBy };
}

function idOf({ namespace, name }: { namespace: string | null; name: string }): string {
  return `${namespace ?? ""} ${name}`;
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
