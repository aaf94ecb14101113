import type { Severity } from "./event.ts";
import type { FindingExtra, FindingState } from "./finding.ts";
import type { Json } from "./json.ts";

export const WINDOW_FUNCTIONS = ["count", "distinct", "sum", "avg", "min", "max", "last"] as const;
export type WindowFunction = (typeof WINDOW_FUNCTIONS)[number];

/**
 * A computation over the events of the last `overMs` that met the rule's `when`, by key. It holds when `is` (CEL over
 * `window.value`, `window.count`, `window.key`) is true.
 */
export interface WindowDefinition {
  overMs: number;
  compute: WindowFunction;
  /** CEL that gives the value of one event (a number; for `distinct` and `last` also a text); not used by `count`. */
  of: string | null;
  is: string;
}

/** One event after the other, for one key, all within a time; `when` is CEL. */
export interface SequenceDefinition {
  withinMs: number;
  steps: { types: string[]; when: string | null }[];
}

/** Nothing that meets `when` came for this time: counted from the start of the rule, then from the last one, by key. */
export interface AbsenceDefinition {
  forMs: number;
}

export type RuleOutcome =
  | { kind: "run"; pipeline: string; params: Json }
  | { kind: "emit"; type: string; subject: string | null; severity: Severity | null; data: Json }
  | {
      kind: "finding";
      severity: Severity;
      title: string;
      /** Template; findings with the same key are one, counted. Default: the rule's name and key. */
      key: string | null;
      data: Json;
      /** CEL over an event of the same triggers; when it holds for the same key the finding is resolved. */
      resolvedWhen: string | null;
      /** Resolved when it was not raised for so long; absent is never. */
      resolveAfterMs?: number;
    };

/** A rule as the engine evaluates it: defaults filled in, durations in milliseconds. Texts may hold `${{ }}` templates. */
export interface RuleDefinition {
  name: string;
  enabled: boolean;
  /** Whose memory its expressions see as `memory`. */
  namespace: string;
  /** Higher ones first; among equals the order of the configuration. */
  priority: number;
  /** Trigger names; `rule:NAME` is what that rule emits; `*` is everything. */
  on: string[];
  /** Event types; empty means every type. */
  types: string[];
  /** CEL; null is always true. */
  when: string | null;
  /** CEL that gives the key of an event, as text; null is one key for all. */
  by: string | null;
  window: WindowDefinition | null;
  sequence: SequenceDefinition | null;
  absence: AbsenceDefinition | null;
  /** Fires only after so long without another match, for the last one. */
  debounceMs: number;
  /** At most `count` firings in any `perMs`, by key. */
  throttle: { count: number; perMs: number } | null;
  /** Least time between two firings, by key. */
  cooldownMs: number;
  outcomes: RuleOutcome[];
}

/** An event caused by events caused by events: from so many on, rules no longer look at it. */
export const MAX_HOPS = 8;

/** What a rule remembers of one key, as the store keeps it. `rule` is `ruleIdentity`. */
export interface RuleStateRow {
  rule: string;
  key: string;
  /** Null deletes it. */
  body: Json | null;
}

/** One event in a window. Times: trusted milliseconds. */
export interface WindowEntryRow {
  rule: string;
  key: string;
  atMs: number;
  value: string | number | null;
}

export interface FindingRow {
  id: string;
  rule: string;
  key: string;
  severity: Severity;
  title: string;
  data: Json;
  state: FindingState;
  /** How often it was raised, the first time included. */
  count: number;
  firstMs: number;
  lastMs: number;
  resolvedMs: number | null;
  extra?: FindingExtra;
}

/** What rules change with one commit of events. */
export interface RuleChanges {
  /**
   * Set when something here was computed from what rules remember: how many such commits the store must have seen. The
   * store counts them (from 0, durably, in the same transaction) and refuses the whole commit with a retryable `conflict`, before it
   * writes anything, when its count differs. So commits may overlap, and none builds on one that failed.
   */
  version?: number;
  states: RuleStateRow[];
  entries: WindowEntryRow[];
  /** Entries older than this are forgotten. */
  expire: { rule: string; beforeMs: number }[];
  /** Inserted, or replaced by id. */
  findings: FindingRow[];
}

/** What the store keeps for the rules, read at start. */
export interface RuleMemory {
  states: RuleStateRow[];
  entries: WindowEntryRow[];
  openFindings: FindingRow[];
  /** Commits with `RuleChanges.version` so far. */
  version: number;
}
