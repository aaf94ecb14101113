import type { CloudEvent } from "../../model/event.ts";
import type { Json } from "../../model/json.ts";
import type { FindingRow, RuleChanges, RuleStateRow, WindowEntryRow } from "../../model/rule.ts";
import type { CompiledRule } from "./compiled-rule.ts";
import { stateBody } from "./key-state.ts";

/** Times of an evaluation: trusted for windows and cooldowns, wall for display. Unix milliseconds. */
export interface RuleTimes {
  trustedMs: number;
  wallMs: number;
}

/** A run that a rule asks for. */
export interface RuleRun {
  rule: string;
  pipeline: string;
  params: Json;
  /** Event that it is for, and its place: first the events handed in, then the derived ones. */
  event: CloudEvent;
  index: number;
}

/** Derived events that one commit may hold; more are refused and counted. A large batch may cause some for each of its events. */
const MAX_DERIVED = 1000;
const MAX_DERIVED_EACH = 10;
/** Row of a rule that holds what it counted over restarts; keys of events have `=` before them. */
export const COUNTS_KEY = "#";

/** What the rules make of one commit: nothing of it is durable yet. */
export class Collected {
  readonly derived: { event: CloudEvent; body: string }[] = [];
  readonly runs: RuleRun[] = [];
  /** Something was computed from what rules remember: it may not be kept when an earlier commit failed. */
  stateful = false;
  readonly #given: number;
  readonly #maxDerived: number;
  readonly #dirty = new Map<CompiledRule, Set<string>>();
  readonly #touched = new Set<CompiledRule>();
  readonly #fired = new Set<CompiledRule>();
  readonly #forgotten: RuleStateRow[] = [];
  readonly #entries: WindowEntryRow[] = [];
  readonly #expire: RuleChanges["expire"] = [];
  readonly #findings = new Map<string, FindingRow>();
  /** Derived events that rules have not looked at yet, with what they listen to. */
  #waiting: { trigger: string; event: CloudEvent; index: number }[] = [];

  constructor(given: number) {
    this.#given = given;
    this.#maxDerived = Math.max(MAX_DERIVED, given * MAX_DERIVED_EACH);
  }

  /** The index of the event, or null when the commit holds too many. */
  derive(rule: string, event: CloudEvent, body: string): number | null {
    if (this.derived.length >= this.#maxDerived) return null;
    const index = this.#given + this.derived.length;
    this.derived.push({ event, body });
    this.#waiting.push({ trigger: `rule:${rule}`, event, index });
    return index;
  }

  takeWaiting(): { trigger: string; event: CloudEvent; index: number }[] {
    if (this.#waiting.length === 0) return this.#waiting;
    const waiting = this.#waiting;
    this.#waiting = [];
    return waiting;
  }

  touchRule(rule: CompiledRule): void {
    this.#touched.add(rule);
  }

  touchState(rule: CompiledRule, key: string): void {
    this.stateful = true;
    this.#touched.add(rule);
    const keys = this.#dirty.get(rule);
    if (keys) keys.add(key);
    else this.#dirty.set(rule, new Set([key]));
  }

  /** The rules whose memory this commit has changed. */
  touchedRules(): Iterable<CompiledRule> {
    return this.#touched;
  }

  addEntry(entry: WindowEntryRow): void {
    this.#entries.push(entry);
  }

  forget(rule: CompiledRule, key: string): void {
    this.stateful = true;
    this.#forgotten.push({ rule: rule.identity, key: `=${key}`, body: null });
  }

  expire(rule: CompiledRule, beforeMs: number): void {
    this.#expire.push({ rule: rule.identity, beforeMs });
  }

  putFinding(row: FindingRow): void {
    this.stateful = true;
    this.#findings.set(row.id, row);
  }

  /** Findings as they stand now, of those that have changed. */
  findings(): Iterable<FindingRow> {
    return this.#findings.values();
  }

  countFired(rule: CompiledRule): void {
    this.#fired.add(rule);
  }

  /** What the store has to take over; null when there is nothing. */
  changes(): RuleChanges | null {
    const states = [...this.#forgotten, ...this.#stateRows()];
    const findings = [...this.#findings.values()];
    const size = states.length + this.#entries.length + this.#expire.length + findings.length;
    if (size === 0 && !this.stateful) return null;
    return { states, entries: this.#entries, expire: this.#expire, findings };
  }

  *#stateRows(): Iterable<RuleStateRow> {
    for (const [rule, keys] of this.#dirty) {
      for (const key of keys) {
        const state = rule.keys.get(key)?.state;
        if (!state) continue;
        const body = stateBody(state);
        if (body === null && !state.stored) continue;
        state.stored = body !== null;
        yield { rule: rule.identity, key: `=${key}`, body };
      }
    }
    for (const { identity, firedEver, lastFiredMs } of this.#fired)
      yield { rule: identity, key: COUNTS_KEY, body: [firedEver, lastFiredMs] };
  }
}
