import { Heap } from "../../core/heap.ts";
import type { CloudEvent } from "../../model/event.ts";
import { celValue, type Expression, type ExpressionContext } from "../../model/expression.ts";
import { DEFAULT_NAMESPACE } from "../../model/namespace.ts";
import type { FiringFacts, Mute } from "../../model/silence.ts";
import type { RuleTimes } from "./collected.ts";
import { type CompiledRule, note } from "./compiled-rule.ts";
import type { WindowFacts } from "./debounce.ts";
import type { OpenFindings } from "./findings.ts";

export interface RuleTotals {
  /** Events that no rule looked at because they are too far down a chain of causes. */
  hops: number;
  /** Events that rules would have emitted: over the limit of a commit, or too large. */
  refused: number;
}

/** A key at which something may be due: it is looked at then. Trusted milliseconds. */
export interface DueKey {
  atMs: number;
  rule: CompiledRule;
  key: string;
}

export function noDueKeys(): Heap<DueKey> {
  return new Heap((a, b) => a.atMs - b.atMs);
}

/** See src/agent/silences/silences.ts. */
export type QuietPort = (facts: () => FiringFacts) => Quiet | null;

/** What a rule is kept from, and by what; `count` when it was. */
export interface Quiet {
  readonly by: Partial<Record<Mute, string>>;
  count(what: Mute): void;
}

/** What the rules of one agent share. */
export interface RuleWorld {
  agentId: string;
  /** `agent` as CEL sees it. */
  agent: unknown;
  /** `memory` of a namespace as CEL sees it: committed values. */
  memory: (namespace: string) => unknown;
  findings: OpenFindings;
  due: Heap<DueKey>;
  totals: RuleTotals;
  /** What silences a rule that fires; nothing when absent. */
  quiet?: QuietPort;
  newId: () => string;
  maxEventBytes: number;
  maxKeys: number;
  maxEntries: number;
}

/** One event as the rules see it. */
export class EventView {
  readonly event: CloudEvent;
  readonly index: number;
  /** Trusted milliseconds that it counts at. */
  readonly atMs: number;
  readonly times: RuleTimes;
  readonly #world: Pick<RuleWorld, "agent" | "memory">;
  #context: ExpressionContext | undefined;

  constructor(
    event: CloudEvent,
    index: number,
    atMs: number,
    times: RuleTimes,
    world: Pick<RuleWorld, "agent" | "memory">,
  ) {
    this.event = event;
    this.index = index;
    this.atMs = atMs;
    this.times = times;
    this.#world = world;
  }

  /** Made when the first expression wants it, once for all rules of the namespace that rules have by default. */
  contextOf({ definition: { namespace } }: CompiledRule): ExpressionContext {
    const { agent, memory } = this.#world;
    this.#context ??= { event: celValue(this.event), agent, memory: memory(DEFAULT_NAMESPACE) };
    return namespace === DEFAULT_NAMESPACE ? this.#context : { ...this.#context, memory: memory(namespace) };
  }

  contextWith(rule: CompiledRule, key: string, window: WindowFacts | null): ExpressionContext {
    const facts = window && { value: celValue(window.value), count: BigInt(window.count) };
    return { ...this.contextOf(rule), window: { key, ...facts } };
  }
}

/** Whether a condition holds; what is no answer is counted and is no. */
export function holds(
  rule: CompiledRule,
  condition: Expression | null,
  context: () => ExpressionContext,
): boolean {
  if (condition === null) return true;
  const result = condition.evaluate(context());
  if (result.kind === "value") {
    if (typeof result.value === "boolean") return result.value;
    note(rule, `${condition.source}: gave ${typeof result.value}, not bool`);
  } else if (result.kind === "skipped") rule.counters.skipped++;
  else note(rule, `${condition.source}: ${result.message}`);
  return false;
}

export const MAX_KEY = 1024;

/** The key of an event, as text; null when it has none, which is counted. */
export function keyOf(rule: CompiledRule, view: EventView): string | null {
  if (rule.by === null) return "";
  const result = rule.by.evaluate(view.contextOf(rule));
  if (result.kind === "error") {
    note(rule, `by: ${result.message}`);
    return null;
  }
  if (result.kind === "skipped" || result.value === null) {
    rule.counters.skipped++;
    return null;
  }
  const { value } = result;
  if (typeof value === "string") {
    if (value.length <= MAX_KEY) return value;
    note(rule, `by: the key has ${value.length} characters, more than ${MAX_KEY}`);
    return null;
  }
  if (typeof value === "bigint" || typeof value === "number" || typeof value === "boolean")
    return String(value);
  note(rule, "by: the key is neither a text nor a number");
  return null;
}
