import { compileExpression, type Expression, celValue } from "../../model/expression.ts";
import type { CloudEvent } from "../../model/event.ts";
import type { Json } from "../../model/json.ts";
import type { RuleDefinition } from "../../model/pipeline.ts";
import { compileTemplate, type Template } from "../../model/template.ts";
import { messageOf } from "../../core/errors.ts";

/** A rule that an event has set off. */
export interface RuleMatch {
  rule: string;
  pipeline: string;
  params: Json;
  /** When the rule had last started a run before this one. */
  previousMs: number | undefined;
}

export interface RuleCounters {
  /** Conditions evaluated. */
  evaluated: number;
  matched: number;
  /** The condition asked for a key that the event does not have. */
  skipped: number;
  /** Matched, but within the cooldown. */
  cooled: number;
  errors: number;
  lastError: string | null;
}

interface CompiledRule {
  definition: RuleDefinition;
  when: Expression | null;
  params: Template;
  counters: RuleCounters;
}

/**
 * Rules, compiled once and indexed by trigger and event type, so that an event meets few candidates. A rule that fails
 * to evaluate is counted and the others go on. Times are trusted milliseconds.
 */
export class RuleSet {
  readonly #byTrigger = new Map<string, CompiledRule[]>();
  readonly #rules: CompiledRule[];
  readonly #lastFired: Map<string, number>;
  readonly #agent: unknown;

  constructor(
    definitions: RuleDefinition[],
    lastFired: Record<string, number>,
    agent: { id: string; labels: Record<string, string> },
  ) {
    this.#agent = celValue(agent);
    this.#lastFired = new Map(Object.entries(lastFired));
    this.#rules = definitions.map((definition) => ({
      definition,
      when: definition.when === undefined ? null : compileExpression(definition.when),
      params: compileTemplate(definition.params, "params"),
      counters: { evaluated: 0, matched: 0, skipped: 0, cooled: 0, errors: 0, lastError: null },
    }));
    for (const rule of this.#rules) {
      for (const trigger of rule.definition.on) {
        const list = this.#byTrigger.get(trigger) ?? [];
        list.push(rule);
        this.#byTrigger.set(trigger, list);
      }
    }
  }

  /** False when no rule listens to this trigger, so that its events need not be looked at. */
  concerns(trigger: string): boolean {
    return this.#byTrigger.has(trigger) || this.#byTrigger.has("*");
  }

  /** Rules that the event sets off, in the order of the configuration. Starts their cooldowns. */
  match(trigger: string, event: CloudEvent, nowMs: number): RuleMatch[] {
    const matches: RuleMatch[] = [];
    let context: { event: unknown; agent: unknown } | undefined;
    for (const rule of this.#candidates(trigger)) {
      const { definition, counters } = rule;
      if (definition.types.length > 0 && !definition.types.includes(event.type)) continue;
      context ??= { event: celValue(event), agent: this.#agent };
      if (!this.#holds(rule, context)) continue;
      if (this.#isCooling(definition, nowMs)) {
        counters.cooled++;
        continue;
      }
      const params = this.#params(rule, context);
      if (params === undefined) continue;
      counters.matched++;
      const previousMs = this.#lastFired.get(definition.name);
      this.#lastFired.set(definition.name, nowMs);
      matches.push({ rule: definition.name, pipeline: definition.run, params, previousMs });
    }
    return matches;
  }

  /** Takes back a cooldown whose run was not kept after all (a duplicate event, a failed commit). */
  restore(rule: string, firedAtMs: number, previousMs: number | undefined): void {
    if (this.#lastFired.get(rule) !== firedAtMs) return;
    if (previousMs === undefined) this.#lastFired.delete(rule);
    else this.#lastFired.set(rule, previousMs);
  }

  counters(): { rule: string; counters: RuleCounters }[] {
    return this.#rules.map((rule) => ({ rule: rule.definition.name, counters: rule.counters }));
  }

  *#candidates(trigger: string): Iterable<CompiledRule> {
    const own = this.#byTrigger.get(trigger);
    if (own) yield* own;
    const any = this.#byTrigger.get("*");
    if (any) yield* any;
  }

  #isCooling(definition: RuleDefinition, nowMs: number): boolean {
    const fired = this.#lastFired.get(definition.name);
    return definition.cooldownMs > 0 && fired !== undefined && nowMs - fired < definition.cooldownMs;
  }

  #holds(rule: CompiledRule, context: { event: unknown; agent: unknown }): boolean {
    if (rule.when === null) return true;
    rule.counters.evaluated++;
    const result = rule.when.evaluate(context);
    if (result.kind === "value") {
      if (typeof result.value === "boolean") return result.value;
      this.#fail(rule, `the condition gave ${typeof result.value}, not bool`);
    } else if (result.kind === "skipped") rule.counters.skipped++;
    else this.#fail(rule, result.message);
    return false;
  }

  #params(rule: CompiledRule, context: { event: unknown; agent: unknown }): Json | undefined {
    try {
      return rule.params.resolve(context);
    } catch (error) {
      this.#fail(rule, messageOf(error));
      return undefined;
    }
  }

  #fail(rule: CompiledRule, message: string): void {
    rule.counters.errors++;
    rule.counters.lastError = message;
  }
}
