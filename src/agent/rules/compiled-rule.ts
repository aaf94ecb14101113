import { messageOf } from "../../core/errors.ts";
import type { Severity } from "../../model/event.ts";
import { compileExpression, type Expression } from "../../model/expression.ts";
import { ruleIdentity } from "../../model/rule-identity.ts";
import type { RuleDefinition, RuleOutcome } from "../../model/rule.ts";
import { compileTemplate, type Template } from "../../model/template.ts";
import { KeyTable } from "./key-table.ts";

export interface RuleCounters {
  /** Events that were looked at. */
  evaluated: number;
  /** Met the condition (of a sequence: of one of its steps). */
  matched: number;
  /** Started a pipeline, emitted or raised something. */
  fired: number;
  /** The event lacks something that an expression asks for. */
  skipped: number;
  /** Held back by cooldown or throttle. */
  cooled: number;
  /** Runs and events of firings that were not made because of a silence. */
  silenced: number;
  /** Too old or too far in the future to be counted. */
  late: number;
  /** Keys and entries that were let go because there were too many. */
  dropped: number;
  errors: number;
  lastError: string | null;
}

export type CompiledOutcome =
  | { kind: "run"; pipeline: string; params: Template }
  | { kind: "emit"; type: string; subject: Template | null; severity: Severity | null; data: Template }
  | {
      kind: "finding";
      severity: Severity;
      title: Template;
      key: Template | null;
      data: Template;
      resolvedWhen: Expression | null;
      resolveAfterMs: number | undefined;
    };

export interface CompiledRule {
  definition: RuleDefinition;
  identity: string;
  when: Expression | null;
  by: Expression | null;
  of: Expression | null;
  is: Expression | null;
  steps: { types: string[]; when: Expression | null }[];
  outcomes: CompiledOutcome[];
  counters: RuleCounters;
  /** Firings ever, over restarts, and the wall time of the last. */
  firedEver: number;
  lastFiredMs: number | null;
  keys: KeyTable;
  /** A key that was silent for so long is forgotten. */
  keepMs: number;
  sweepAtMs: number;
  /** Why it cannot be evaluated at all. */
  broken: string | null;
}

/** Keys outlive what they are for by this, so that an event that is on its way for a while still finds them. */
const KEEP_EXTRA_MS = 600_000;

/** A rule that does not compile never fires and says why; the others go on. */
export function compileRule(definition: RuleDefinition): CompiledRule {
  const rule: CompiledRule = {
    definition,
    identity: ruleIdentity(definition),
    when: null,
    by: null,
    of: null,
    is: null,
    steps: [],
    outcomes: [],
    counters: {
      evaluated: 0,
      matched: 0,
      fired: 0,
      skipped: 0,
      cooled: 0,
      silenced: 0,
      late: 0,
      dropped: 0,
      errors: 0,
      lastError: null,
    },
    firedEver: 0,
    lastFiredMs: null,
    keys: new KeyTable(),
    keepMs: longest(definition) + KEEP_EXTRA_MS,
    sweepAtMs: 0,
    broken: null,
  };
  try {
    rule.when = expression(definition.when);
    rule.by = expression(definition.by);
    rule.of = expression(definition.window?.of ?? null);
    rule.is = expression(definition.window?.is ?? null);
    rule.steps = (definition.sequence?.steps ?? []).map(({ types, when }) => ({
      types,
      when: expression(when),
    }));
    rule.outcomes = definition.outcomes.map(compileOutcome);
  } catch (error) {
    rule.broken = messageOf(error).split("\n", 1)[0]!;
    rule.counters.errors++;
    rule.counters.lastError = rule.broken;
  }
  return rule;
}

function expression(source: string | null): Expression | null {
  return source === null ? null : compileExpression(source);
}

function compileOutcome(outcome: RuleOutcome): CompiledOutcome {
  switch (outcome.kind) {
    case "run":
      return {
        kind: "run",
        pipeline: outcome.pipeline,
        params: compileTemplate(outcome.params, "params"),
      };
    case "emit":
      return {
        kind: "emit",
        type: outcome.type,
        subject: outcome.subject === null ? null : compileTemplate(outcome.subject, "emit.subject"),
        severity: outcome.severity,
        data: compileTemplate(outcome.data, "emit.data"),
      };
    case "finding":
      return {
        kind: "finding",
        severity: outcome.severity,
        title: compileTemplate(outcome.title, "finding.title"),
        key: outcome.key === null ? null : compileTemplate(outcome.key, "finding.key"),
        data: compileTemplate(outcome.data, "finding.data"),
        resolvedWhen: expression(outcome.resolvedWhen),
        resolveAfterMs: outcome.resolveAfterMs,
      };
  }
}

function longest(rule: RuleDefinition): number {
  return Math.max(
    rule.window?.overMs ?? 0,
    rule.sequence?.withinMs ?? 0,
    rule.cooldownMs,
    rule.throttle?.perMs ?? 0,
  );
}

/** What it does with events, in a word, for lists. */
export function kindOf(rule: RuleDefinition): "match" | "window" | "sequence" | "absence" {
  if (rule.window) return "window";
  if (rule.sequence) return "sequence";
  return rule.absence ? "absence" : "match";
}

/** True when a firing depends on, or changes, what it remembers. */
export function needsMemory(rule: RuleDefinition): boolean {
  const { window, sequence, absence, throttle, debounceMs, cooldownMs } = rule;
  return !!(window || sequence || absence || throttle) || debounceMs > 0 || cooldownMs > 0;
}

export function note(rule: CompiledRule, message: string): void {
  rule.counters.errors++;
  rule.counters.lastError = message;
}
