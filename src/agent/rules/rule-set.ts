import type { CloudEvent, Severity } from "../../model/event.ts";
import { celValue } from "../../model/expression.ts";
import type { FindingChange } from "../../model/finding.ts";
import { ruleKeep } from "../../model/rule-identity.ts";
import type { FindingRow, RuleDefinition, RuleMemory } from "../../model/rule.ts";
import { changeFinding, resolveDueFindings } from "./change-finding.ts";
import { Collected, type RuleTimes } from "./collected.ts";
import { type CompiledRule, compileRule, kindOf, type RuleCounters } from "./compiled-rule.ts";
import { OpenFindings } from "./findings.ts";
import { fireDueKeys } from "./fire-due.ts";
import { beginWatching, loadMemory } from "./load-memory.ts";
import { matchEvent } from "./match-event.ts";
import { RuleIndex } from "./rule-index.ts";
import { EventView, noDueKeys, type QuietPort, type RuleTotals, type RuleWorld } from "./rule-world.ts";
import { sweepWhenDue } from "./sweep.ts";

export interface RuleSetOptions {
  agent: { id: string; labels: Record<string, string> };
  newId: () => string;
  maxEventBytes: number;
  /** What expressions see as `memory`, by namespace; nothing when absent. */
  memory?: (namespace: string) => unknown;
  /** What silences a rule that fires; nothing when absent. */
  quiet?: QuietPort;
  /** Keys that one rule remembers. */
  maxKeys?: number;
  /** Events that one key of a window remembers. */
  maxEntries?: number;
}

/** An event to look at; `timed` when its time is the trigger's and not the agent's. */
export interface GivenEvent {
  event: CloudEvent;
  timed: boolean;
}

export type RuleSummary = {
  name: string;
  enabled: boolean;
  priority: number;
  on: string[];
  types: string[];
  kind: string;
  /** Keys that it remembers something of. */
  keys: number;
  counters: RuleCounters;
  /** Firings ever, over restarts. */
  fired: number;
  /** Wall time. */
  lastFiredMs: number | null;
  /** Why it does not run at all. */
  broken: string | null;
};

const MAX_KEYS = 200_000;
const MAX_ENTRIES = 10_000;

/**
 * Rules, compiled once and indexed by trigger and event type. A rule that fails to evaluate is counted and the others go
 * on. Evaluation changes what they remember at once and tells what the store must take over; when that fails, `load`
 * puts back what the store holds.
 */
export class RuleSet {
  /** What `AgentStore.ruleMemory` is to keep. */
  readonly keep: string[];
  readonly totals: RuleTotals = { hops: 0, refused: 0 };
  readonly #rules: CompiledRule[];
  readonly #index: RuleIndex;
  readonly #world: RuleWorld;
  /** Rules whose beginning the store does not know yet. */
  readonly #begun = new Set<CompiledRule>();

  constructor(definitions: RuleDefinition[], options: RuleSetOptions) {
    this.keep = ruleKeep(definitions);
    this.#rules = definitions.map(compileRule);
    this.#index = new RuleIndex(this.#rules);
    this.#world = {
      agentId: options.agent.id,
      agent: celValue(options.agent),
      memory: options.memory ?? (() => ({})),
      findings: new OpenFindings(),
      due: noDueKeys(),
      totals: this.totals,
      ...(options.quiet ? { quiet: options.quiet } : {}),
      newId: options.newId,
      maxEventBytes: options.maxEventBytes,
      maxKeys: options.maxKeys ?? MAX_KEYS,
      maxEntries: options.maxEntries ?? MAX_ENTRIES,
    };
  }

  /** Takes over what the store holds: at the start, and again when a commit has failed. */
  load(memory: Omit<RuleMemory, "version">, trustedMs: number): void {
    loadMemory(this.#world, this.#rules, memory, trustedMs);
    this.#begun.clear();
    for (const rule of this.#rules) {
      if (beginWatching(this.#world, rule, trustedMs)) this.#begun.add(rule);
    }
  }

  /** False when no rule listens to this trigger, so that its events need not be looked at. */
  concerns(trigger: string): boolean {
    return this.#index.concerns(trigger);
  }

  /** False when no rule would look at an event of this trigger and type, so that its data need not be read. */
  wants(trigger: string, type: string): boolean {
    const { rules, resolvers } = this.#index.candidates(trigger, type);
    return rules.length > 0 || (resolvers.length > 0 && this.#world.findings.size > 0);
  }

  /** What the rules make of a trigger's events, and of the events that they cause themselves. */
  evaluate(trigger: string, given: GivenEvent[], times: RuleTimes): Collected {
    const collected = this.#collect(given.length);
    for (let index = 0; index < given.length; index++) {
      const { event, timed } = given[index]!;
      this.#look(collected, trigger, event, index, timed, times);
      this.#follow(collected, times);
    }
    this.#sweep(collected, times);
    return collected;
  }

  /** Trusted time at which `fireDue` has something to do; null when it never has. */
  due(nowMs: number): number | null {
    if (this.#begun.size > 0) return nowMs;
    const dues = [this.#world.due.peek()?.atMs ?? null, this.#world.findings.dueMs()];
    return dues.reduce((a, b) => (a === null || (b !== null && b < a) ? b : a));
  }

  /** What time alone has brought about; null when that is nothing. */
  fireDue(times: RuleTimes): Collected | null {
    const collected = this.#collect(0);
    const follow = () => this.#follow(collected, times);
    fireDueKeys(this.#world, collected, times, follow);
    resolveDueFindings(this.#world, collected, times, follow);
    this.#sweep(collected, times);
    return collected.stateful ? collected : null;
  }

  /** What a person does with a finding, and what rules make of it. Throws `conflict` when its state does not allow it. */
  changeFinding(
    stored: FindingRow,
    change: FindingChange,
    times: RuleTimes,
  ): { row: FindingRow; evaluated: Collected } {
    const evaluated = new Collected(0);
    const row = changeFinding(this.#world, evaluated, stored, change, times);
    this.#follow(evaluated, times);
    this.#sweep(evaluated, times);
    return { row, evaluated };
  }

  /** Findings that are not resolved. */
  openFindings(): Partial<Record<Severity, number>> {
    return this.#world.findings.bySeverity();
  }

  /** The run that a rule asked for could not be made. */
  failed(rule: string, message: string): void {
    const found = this.#rules.find((each) => each.definition.name === rule);
    if (!found) return;
    found.counters.errors++;
    found.counters.lastError = message;
  }

  /** In the order in which they are evaluated. */
  list(): RuleSummary[] {
    const ordered = [...this.#rules].sort((a, b) => b.definition.priority - a.definition.priority);
    return ordered.map(({ definition, counters, keys, firedEver, lastFiredMs, broken }) => ({
      name: definition.name,
      enabled: definition.enabled,
      priority: definition.priority,
      on: definition.on,
      types: definition.types,
      kind: kindOf(definition),
      keys: keys.size,
      counters: { ...counters },
      fired: firedEver,
      lastFiredMs,
      broken,
    }));
  }

  counters(): { rule: string; counters: RuleCounters; keys: number }[] {
    return this.#rules.map(({ definition, counters, keys }) => ({
      rule: definition.name,
      counters,
      keys: keys.size,
    }));
  }

  #collect(given: number): Collected {
    const collected = new Collected(given);
    for (const rule of this.#begun) collected.touchState(rule, "");
    this.#begun.clear();
    return collected;
  }

  /** Breadth first: all that an event caused, then all that this caused. */
  #follow(collected: Collected, times: RuleTimes): void {
    for (;;) {
      const waiting = collected.takeWaiting();
      if (waiting.length === 0) return;
      for (const { trigger, event, index } of waiting)
        this.#look(collected, trigger, event, index, false, times);
    }
  }

  #look(
    collected: Collected,
    trigger: string,
    event: CloudEvent,
    index: number,
    timed: boolean,
    times: RuleTimes,
  ): void {
    const candidates = this.#index.candidates(trigger, event.type);
    if (candidates.rules.length === 0 && candidates.resolvers.length === 0) return;
    const view = new EventView(event, index, countedAt(event, timed, times), times, this.#world);
    matchEvent(this.#world, collected, candidates, view);
  }

  #sweep(collected: Collected, times: RuleTimes): void {
    for (const rule of collected.touchedRules()) sweepWhenDue(collected, rule, times.trustedMs);
  }
}

/** A time that the trigger gave is moved by what the host's clock is wrong, so that a jump of it changes nothing. */
function countedAt(event: CloudEvent, timed: boolean, { trustedMs, wallMs }: RuleTimes): number {
  if (!timed) return trustedMs;
  const given = Math.floor(Date.parse(event.time));
  return Number.isNaN(given) ? trustedMs : given + Math.floor(trustedMs - wallMs);
}
