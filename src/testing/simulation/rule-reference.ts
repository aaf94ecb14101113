import type { CloudEvent } from "../../model/event.ts";
import { type SimulatedRule, keyOf, valueOf } from "./rule-grammar.ts";

interface Seen {
  at: number;
  type: string;
  value: number;
}

/** What one rule remembers of one key: everything. */
interface Remembered {
  seen: Seen[];
  fired: number[];
}

/**
 * What the rules must make of the committed events, computed from scratch over all that ever came: which event makes
 * which rule fire. Knows nothing of how the rules do it.
 */
export class RuleReference {
  /** `rule id` of each firing, with the id of the event. */
  readonly fired: string[] = [];
  readonly #rules: SimulatedRule[];
  readonly #memory = new Map<string, Remembered>();

  constructor(rules: SimulatedRule[]) {
    this.#rules = rules.filter(({ referenced }) => referenced);
  }

  has(rule: string): boolean {
    return this.#rules.some(({ definition }) => definition.name === rule);
  }

  /** Events in the order of their commits; `atMs` is the trusted time at which they were looked at. */
  committed(trigger: string, event: CloudEvent, atMs: number): void {
    for (const each of this.#rules) {
      const { name, on, types } = each.definition;
      if (!on.includes(trigger)) continue;
      if (types.length > 0 && !types.includes(event.type)) continue;
      if (each.meets(event) && this.#fires(each, event, atMs)) {
        this.fired.push(`${name} ${event.id}`);
      }
    }
  }

  #fires(each: SimulatedRule, event: CloudEvent, atMs: number): boolean {
    const { definition } = each;
    const key = definition.by === null ? "" : keyOf(event);
    const memory = this.#memoryOf(definition.name, key);
    const value = valueOf(event);
    memory.seen.push({ at: atMs, type: event.type, value });
    if (definition.window && !this.#windowReaches(each, memory, atMs)) return false;
    if (definition.sequence && !this.#completes(memory, definition.sequence.withinMs)) return false;
    const { cooldownMs, throttle } = definition;
    if (memory.fired.some((at) => atMs - at < cooldownMs)) return false;
    if (throttle && memory.fired.filter((at) => atMs - at < throttle.perMs).length >= throttle.count)
      return false;
    memory.fired.push(atMs);
    return true;
  }

  #windowReaches({ definition, reaches }: SimulatedRule, { seen }: Remembered, atMs: number): boolean {
    const { overMs, compute } = definition.window!;
    const values = seen.filter(({ at }) => at > atMs - overMs).map(({ value }) => value);
    switch (compute) {
      case "count":
        return values.length >= reaches;
      case "distinct":
        return new Set(values).size >= reaches;
      case "sum":
        return values.reduce((sum, value) => sum + value, 0) >= reaches;
      default:
        return Math.max(...values) >= reaches;
    }
  }

  /** A `b` now and an `a` before it in time; both are used up. */
  #completes(memory: Remembered, withinMs: number): boolean {
    const last = memory.seen.at(-1)!;
    if (last.type !== "b") return false;
    const complete = memory.seen.some(({ at, type }) => type === "a" && last.at - at <= withinMs);
    if (complete) memory.seen = [];
    return complete;
  }

  #memoryOf(name: string, key: string): Remembered {
    const place = `${name} ${key}`;
    let memory = this.#memory.get(place);
    if (!memory) this.#memory.set(place, (memory = { seen: [], fired: [] }));
    return memory;
  }
}
