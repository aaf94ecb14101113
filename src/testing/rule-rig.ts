import type { Collected, RuleTimes } from "../agent/rules/collected.ts";
import { RuleSet, type RuleSetOptions } from "../agent/rules/rule-set.ts";
import type { CloudEvent } from "../model/event.ts";
import type { FindingRow, RuleDefinition, RuleMemory, RuleStateRow, WindowEntryRow } from "../model/rule.ts";

export const AGENT = { id: "web-01", labels: { role: "web" } };
export const START_MS = Date.UTC(2026, 11, 1);

/** A rule that listens to the trigger `t` and runs the pipeline `p`, but for what is given. */
export function rule(name: string, given: Partial<RuleDefinition> = {}): RuleDefinition {
  return {
    name,
    enabled: true,
    namespace: "default",
    priority: 0,
    on: ["t"],
    types: [],
    when: null,
    by: null,
    window: null,
    sequence: null,
    absence: null,
    debounceMs: 0,
    throttle: null,
    cooldownMs: 0,
    outcomes: [{ kind: "run", pipeline: "p", params: {} }],
    ...given,
  };
}

export interface Fed {
  trigger?: string;
  type?: string;
  subject?: string;
  data?: CloudEvent["data"];
  /** Milliseconds after the start that the trigger says; without it the event has no time of its own. */
  at?: number;
  id?: string;
  hops?: number;
}

/** Rules with a clock that stands still and a store in memory that takes over all that they change. */
export class RuleRig {
  rules: RuleSet;
  /** Milliseconds after the start. */
  now = 0;
  /** What the wall clock is ahead of the trusted one. */
  wallAhead = 0;
  readonly states = new Map<string, RuleStateRow>();
  entries: WindowEntryRow[] = [];
  readonly findings = new Map<string, FindingRow>();
  readonly #definitions: RuleDefinition[];
  readonly #options: Partial<RuleSetOptions>;
  #ids = 0;

  constructor(definitions: RuleDefinition[], options: Partial<RuleSetOptions> = {}) {
    this.#definitions = definitions;
    this.#options = options;
    this.rules = this.restart();
  }

  /** The same rules, or others, over what the store holds. */
  restart(definitions: RuleDefinition[] = this.#definitions): RuleSet {
    this.rules = new RuleSet(definitions, {
      agent: AGENT,
      newId: () => `id-${this.#ids++}`,
      maxEventBytes: 10_000,
      ...this.#options,
    });
    this.rules.load(this.memory(), this.times.trustedMs);
    return this.rules;
  }

  memory(): RuleMemory {
    const kept = (row: { rule: string }) => this.rules === undefined || this.rules.keep.includes(row.rule);
    return {
      states: [...this.states.values()].filter(kept),
      entries: this.entries.filter(kept),
      openFindings: [...this.findings.values()].filter(({ state }) => state !== "resolved"),
      version: 0,
    };
  }

  get times(): RuleTimes {
    return { trustedMs: START_MS + this.now, wallMs: START_MS + this.now + this.wallAhead };
  }

  /** Looks at events; names of the rules whose runs they start, in order. */
  feed(...fed: Fed[]): string[] {
    return fed.flatMap((each) => this.collect(each).runs.map((run) => run.rule));
  }

  collect(fed: Fed): Collected {
    const { trigger = "t", type = "x", subject, data = {}, at, id = `e-${this.#ids++}`, hops } = fed;
    const wallMs = START_MS + this.wallAhead + (at ?? this.now);
    const event: CloudEvent = {
      specversion: "1.0",
      id,
      source: `urn:holdfast:agent:web-01/${trigger}`,
      type,
      time: new Date(wallMs).toISOString(),
      data,
      ...(subject === undefined ? {} : { subject }),
      ...(hops === undefined ? {} : { hops }),
    };
    return this.#stored(this.rules.evaluate(trigger, [{ event, timed: at !== undefined }], this.times));
  }

  /** Moves on, firing what comes due on the way; names of the rules whose runs that starts. */
  advance(ms: number): string[] {
    return this.pass(ms).flatMap((collected) => collected.runs.map((run) => run.rule));
  }

  pass(ms: number): Collected[] {
    const end = this.now + ms;
    const all: Collected[] = [];
    for (;;) {
      const due = this.rules.due(START_MS + this.now);
      if (due === null || due > START_MS + end) break;
      this.now = Math.max(this.now, due - START_MS);
      const collected = this.rules.fireDue(this.times);
      if (collected) all.push(this.#stored(collected));
    }
    this.now = end;
    return all;
  }

  counters(name: string) {
    return this.rules.list().find((each) => each.name === name)!.counters;
  }

  #stored(collected: Collected): Collected {
    const changes = collected.changes();
    for (const row of changes?.states ?? []) {
      const place = `${row.rule} ${row.key}`;
      if (row.body === null) this.states.delete(place);
      else this.states.set(place, structuredClone(row));
    }
    this.entries.push(...(changes?.entries ?? []));
    for (const { rule: name, beforeMs } of changes?.expire ?? [])
      this.entries = this.entries.filter((entry) => entry.rule !== name || entry.atMs >= beforeMs);
    for (const row of changes?.findings ?? []) this.findings.set(row.id, row);
    return collected;
  }
}
