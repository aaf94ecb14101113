/** What a plugin may import: `import { defineTrigger, v } from "holdfast"`. */
import * as v from "valibot";
import { isDuration, parseDuration } from "../core/duration.ts";
import { isSize, parseSize } from "../core/size.ts";
import type { CloudEvent, ProposedEvent } from "../model/event.ts";
import type { Json } from "../model/json.ts";
import type { PermissionsInput, ResourcesInput } from "../model/permissions.ts";
import type { Effect } from "../model/pipeline.ts";
import type { AgentFacts } from "../model/plugin.ts";
import type { LaterTime } from "../model/schedule-later.ts";

export { connect, type ConnectOptions } from "./connect.ts";
export { v };
export type { AgentFacts, CloudEvent, Effect, Json, PermissionsInput, ProposedEvent, ResourcesInput };

type ObjectSchema = v.GenericSchema<Record<string, unknown>, Record<string, unknown>>;

/** Lines go to `logs/plugins/<name>.log`. Fields must be JSON. */
export interface PluginLog {
  debug(message: string, fields?: Record<string, Json>): void;
  info(message: string, fields?: Record<string, Json>): void;
  warn(message: string, fields?: Record<string, Json>): void;
  error(message: string, fields?: Record<string, Json>): void;
}

export interface PluginClock {
  /** Unix milliseconds by the host's clock; may jump. */
  wall(): number;
  /** Milliseconds that never go back. */
  mono(): number;
  /** Resolves after `ms`, or at once (without throwing) when the signal aborts. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
  /** Yields at once and then each `ms` until the signal aborts; a late consumer does not make it pile up. */
  every(ms: number, signal: AbortSignal): AsyncGenerator<number, void, void>;
}

export interface MemoryOptions {
  /** Another namespace than the plugin's own (that of the run, for an action); `permissions.namespaces` must name it. */
  namespace?: string;
}

/**
 * Durable JSON values, shared by all of one namespace: the run's for an action, else the plugin's own. `permissions.memory`
 * names the keys (`["*"]` for all): 1 to 256 letters, digits and `_ . : -`, with values of at most 256 KB. Errors are
 * ActionErrors: `denied`, `invalid`, `too_large`, `exhausted` (full), `busy` (others hold the key), `expired`.
 */
export interface PluginMemory {
  /** Never waits, whoever holds the key. */
  get(key: string, options?: MemoryOptions): Promise<Json | undefined>;
  /** Whatever the value was. `ttl`: milliseconds after which it is gone. */
  set(key: string, value: Json, options?: MemoryOptions & { ttl?: number }): Promise<void>;
  /** False when there was none. */
  delete(key: string, options?: MemoryOptions): Promise<boolean>;
  /** Keys in order. */
  list(options?: MemoryOptions & { prefix?: string }): Promise<string[]>;
  /**
   * Changes the value depending on what it was, with nobody else in between: `update("count", (n = 0) => n + 1)`. Waits for its
   * turn (`wait`, 30,000 ms by default). A change that takes over two seconds while others wait is made again, from what they left;
   * undefined leaves the value as it is. Resolves with what it is afterwards.
   */
  update(
    key: string,
    change: (value: any) => Json | undefined | Promise<Json | undefined>,
    options?: MemoryOptions & { ttl?: number; wait?: number },
  ): Promise<Json | undefined>;
}

/**
 * What this trigger, output or action keeps for itself: one JSON value of at most 256 KB, which nobody else sees. It needs no
 * permission. A trigger whose progress must not get out of step with its events uses its checkpoint instead.
 */
export interface PluginState {
  /** What was saved last; undefined when there is nothing, or it could not be read (the agent's log says so). */
  load(): Promise<Json | undefined>;
  /**
   * Resolves when the agent has taken it. It is written at most once in `every` milliseconds (60,000 by default, 1,000 at least):
   * after a crash of the agent the value is at most so old. With `force` it is written at once, and resolves when it is durable.
   * Throws an ActionError: `invalid` (no JSON), `too_large`.
   */
  save(value: Json, options?: { every?: number; force?: boolean }): Promise<void>;
}

export interface BaseContext<S> {
  /** Name of the trigger, action or output in the configuration. */
  name: string;
  settings: S;
  agent: AgentFacts;
  log: PluginLog;
  clock: PluginClock;
  /** Aborts when the agent wants the plugin to stop. */
  signal: AbortSignal;
  /**
   * Has the agent do what the plugin may not: `host("systemd.restart:nginx.service")`. The manifest asks for it in
   * `permissions.host`, the policy allows it. Throws an ActionError with code `denied` and `started: false` when refused.
   */
  host(operation: string, args?: Record<string, Json>): Promise<Json>;
  memory: PluginMemory;
  state: PluginState;
}

/** One emit: kept as a whole, together with the checkpoint, or refused. */
export interface Emit {
  events: ProposedEvent[];
  /** Given back as `context.checkpoint` after a restart. Commits in one transaction with the events. */
  checkpoint?: Json;
  /** Called once when the agent has kept it (null), or refused it, with the reason; never when the trigger ends before. */
  done?: (refused: string | null) => void;
}

export interface TriggerContext<S> extends BaseContext<S> {
  /** The last committed checkpoint of this trigger. */
  checkpoint: Json | undefined;
  /** The checkpoint went with a damaged store: begin with what comes from now on, what was before has been told. */
  lost: boolean;
}

/** What a plugin of any kind asks for. It gets no more than this, and no more than the host's policy allows. */
interface Wishes {
  /** Files, hosts, programs and the like; nothing when absent. Its own folder ($HOME, $TMPDIR) is always its own. */
  permissions?: PermissionsInput;
  /** Memory, processor time and the like; what is absent has a default. */
  resources?: ResourcesInput;
}

export interface TriggerDefinition<S extends ObjectSchema = ObjectSchema> extends Wishes {
  kind: "trigger";
  name: string;
  description: string;
  settings: S;
  /** Yields events, or batches with a checkpoint. The next value is asked for as soon as the window allows. */
  run(context: TriggerContext<v.InferOutput<S>>): AsyncGenerator<ProposedEvent | Emit, void, void>;
}

/**
 * Steps that a running action asks for. Each resolves when what it asks for is durable, and rejects with an ActionError:
 * `invalid` (no such action or pipeline, more than 100 steps added), `conflict` (the attempt is over). What an attempt added
 * goes when the step runs again; runs that it spawned stay, and are not begun twice.
 */
export interface AddOptions {
  /**
   * Texts of the input hold `${{ }}` templates, evaluated when the added step begins (`failure` in what is added to
   * `onFailure`). Without it they are taken as they are: never pass text from outside as a template.
   */
  templates?: boolean;
}

export interface StepAdders {
  /** An action after this step and what it has added before, ahead of the steps that need this one. */
  add(action: string, input?: Record<string, Json>, options?: AddOptions): Promise<void>;
  /** A pipeline as such a step: it is waited for, and its failure fails this run. */
  addPipeline(pipeline: string, params?: Record<string, Json>, options?: AddOptions): Promise<void>;
  /** An action at the end of the run, however it ends; the one added last runs first. */
  finally(action: string, input?: Record<string, Json>, options?: AddOptions): Promise<void>;
  /** An action at the end of a run that fails, in the order in which they were added. */
  onFailure(action: string, input?: Record<string, Json>, options?: AddOptions): Promise<void>;
  /** A run of its own that nobody waits for, and whose end changes nothing here. */
  spawn(pipeline: string, params?: Record<string, Json>): Promise<void>;
  /**
   * Such a run, put off: `{ in: "5s" }` from now, or `{ at }` a moment of the host's clock (RFC 3339 or Unix milliseconds). It
   * survives a restart of the agent. When it is due the pipeline must be there and take the parameters, and this plugin
   * must still be allowed by the host's policy.
   */
  later(pipeline: string, params: Record<string, Json>, when: LaterTime): Promise<void>;
}

export interface ActionContext<S> extends BaseContext<S>, StepAdders {
  /** Stable over attempts: `run/step`. */
  key: string;
  run: string;
  step: string;
  /** 1 for the first attempt. */
  attempt: number;
  /** Milliseconds left when the call began. `signal` aborts when they are over. */
  timeoutMs: number;
}

export interface ActionDefinition<S extends ObjectSchema = ObjectSchema> extends Wishes {
  kind: "action";
  name: string;
  description: string;
  /** Schema of the step's `with`, which is the action's input and `context.settings`. */
  settings: S;
  /** What an unknown outcome means; at-most-once when absent. */
  effect?: Effect;
  /** Resolves with the step's output (JSON). */
  run(context: ActionContext<v.InferOutput<S>>): Promise<Json | void>;
}

export interface OutputDefinition<S extends ObjectSchema = ObjectSchema> extends Wishes {
  kind: "output";
  name: string;
  description: string;
  settings: S;
  /** Called once before the first write. */
  init?(context: BaseContext<v.InferOutput<S>>): Promise<void>;
  /**
   * Takes all events or throws; they come again, in order, until it has taken them. A PartialWrite says how far it came. An
   * ActionError with `retryable: false` (and another code than `denied`) says that one of them will never be taken: they come
   * again in smaller batches until it is alone, and then it is set aside and counted.
   */
  write(context: BaseContext<v.InferOutput<S>>, events: CloudEvent[]): Promise<void>;
  close?(): Promise<void>;
}

export type PluginDefinition = TriggerDefinition | ActionDefinition | OutputDefinition;

export function defineTrigger<S extends ObjectSchema>(
  definition: Omit<TriggerDefinition<S>, "kind">,
): TriggerDefinition<S> {
  return { kind: "trigger", ...definition };
}

export function defineAction<S extends ObjectSchema>(
  definition: Omit<ActionDefinition<S>, "kind">,
): ActionDefinition<S> {
  return { kind: "action", ...definition };
}

export function defineOutput<S extends ObjectSchema>(
  definition: Omit<OutputDefinition<S>, "kind">,
): OutputDefinition<S> {
  return { kind: "output", ...definition };
}

/** A setting like `30s`, read as milliseconds. */
export function duration(fallback?: string) {
  const schema = v.pipe(
    v.string(),
    v.check(isDuration, "a duration: a number and a unit, like 250ms, 30s, 5m, 1h"),
    v.transform(parseDuration),
  );
  return fallback === undefined ? schema : v.optional(schema, fallback);
}

/** A setting like `64KB` (units of 1024), read as bytes. */
export function size(fallback?: string) {
  const schema = v.pipe(
    v.string(),
    v.check(isSize, "a size: a number and a unit, like 64KB, 100MB"),
    v.transform(parseSize),
  );
  return fallback === undefined ? schema : v.optional(schema, fallback);
}

/** An error that says what the agent may do about it. Anything else thrown counts as retryable and started. */
export class ActionError extends Error {
  readonly retryable: boolean;
  /** False only when it is certain that nothing was done: such a step may run again whatever its effect. */
  readonly started: boolean;
  readonly code: string;

  constructor(message: string, options: { retryable?: boolean; started?: boolean; code?: string } = {}) {
    super(message);
    this.name = "ActionError";
    this.retryable = options.retryable ?? true;
    this.started = options.started ?? true;
    this.code = options.code ?? "failed";
  }
}

/** Thrown by an output that took some events of a batch. What it took or rejected does not come again. */
export class PartialWrite extends ActionError {
  /** Events from the front of the batch that are dealt with. */
  readonly taken: number;
  /** Events that will never be taken, wherever they are in the batch: they are set aside, counted and logged. */
  readonly rejected: { index: number; reason: string }[];

  constructor(
    message: string,
    options: {
      taken?: number;
      rejected?: { index: number; reason: string }[];
      /** False: the rest may come at once. Else it comes after a wait. */
      retryable?: boolean;
      code?: string;
    },
  ) {
    super(message, options);
    this.name = "PartialWrite";
    this.taken = options.taken ?? 0;
    this.rejected = options.rejected ?? [];
  }
}
