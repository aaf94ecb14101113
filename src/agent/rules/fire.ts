import { messageOf } from "../../core/errors.ts";
import type { CloudEvent, Severity } from "../../model/event.ts";
import { eventSource } from "../../model/event.ts";
import type { ExpressionContext } from "../../model/expression.ts";
import { silencedOf } from "../../model/finding.ts";
import type { Json } from "../../model/json.ts";
import type { FindingRow } from "../../model/rule.ts";
import type { FiringFacts, Mute } from "../../model/silence.ts";
import type { Collected } from "./collected.ts";
import { type CompiledOutcome, type CompiledRule, note } from "./compiled-rule.ts";
import type { WindowFacts } from "./debounce.ts";
import { emptyState, type KeyState } from "./key-state.ts";
import { type EventView, MAX_KEY, type Quiet, type RuleWorld } from "./rule-world.ts";
import { isCooling, isThrottled, stillCounted } from "./throttle.ts";

/** An outcome with its templates filled in. */
type Ready =
  | { kind: "run"; pipeline: string; params: Json }
  | { kind: "emit"; type: string; subject: string | null; severity: Severity | null; data: Json }
  | {
      kind: "finding";
      key: string;
      severity: Severity;
      title: string;
      data: Json;
      resolveAfterMs: number | undefined;
    };

/** The rule does what it is for, unless it did so too lately for this key. */
export function fire(
  world: RuleWorld,
  collected: Collected,
  rule: CompiledRule,
  key: string,
  view: EventView,
  window: WindowFacts | null,
): void {
  const { cooldownMs, throttle } = rule.definition;
  const limited = cooldownMs > 0 || throttle !== null;
  const state = limited ? stateOf(rule, key, view.times.trustedMs) : null;
  if (state && !mayFire(state, rule, view.times.trustedMs)) {
    collected.stateful = true;
    rule.counters.cooled++;
    return;
  }
  const ready = readyOutcomes(rule, key, view.contextWith(rule, key, window));
  if (ready.length === 0) return;
  if (state) {
    if (cooldownMs > 0) state.cooledMs = view.times.trustedMs;
    if (throttle) {
      state.fired = [...stillCounted(state.fired, throttle, view.times.trustedMs), view.times.trustedMs];
    }
    collected.touchState(rule, key);
  }
  rule.counters.fired++;
  rule.firedEver++;
  rule.lastFiredMs = view.times.wallMs;
  collected.countFired(rule);
  const quiet = world.quiet?.(() => firingFacts(world, rule, key, view)) ?? null;
  for (const outcome of ready) carryOut(world, collected, rule, view, outcome, quiet);
}

export function stateOf(rule: CompiledRule, key: string, nowMs: number): KeyState {
  const memory = rule.keys.touch(key, nowMs);
  return (memory.state ??= emptyState());
}

function mayFire(state: KeyState, { definition }: CompiledRule, nowMs: number): boolean {
  if (isCooling(state.cooledMs, definition.cooldownMs, nowMs)) return false;
  return !isThrottled(state.fired, definition.throttle, nowMs);
}

function readyOutcomes(rule: CompiledRule, key: string, context: ExpressionContext): Ready[] {
  return rule.outcomes.flatMap((outcome) => {
    try {
      return [readyOutcome(rule, outcome, key, context)];
    } catch (error) {
      // Templates name their place as one in a step's `with`; the paths here are those of the rule.
      note(rule, messageOf(error).replace(/^with\./, ""));
      return [];
    }
  });
}

function readyOutcome(
  rule: CompiledRule,
  outcome: CompiledOutcome,
  key: string,
  context: ExpressionContext,
): Ready {
  switch (outcome.kind) {
    case "run":
      return { kind: "run", pipeline: outcome.pipeline, params: outcome.params.resolve(context) };
    case "emit": {
      const { type, severity } = outcome;
      const subject = outcome.subject ? textOf(outcome.subject.resolve(context), MAX_KEY) : null;
      return { kind: "emit", type, subject, severity, data: outcome.data.resolve(context) };
    }
    case "finding": {
      const title = textOf(outcome.title.resolve(context), 500);
      const data = outcome.data.resolve(context);
      const { severity, resolveAfterMs } = outcome;
      const found = findingKey(rule, outcome, key, context);
      return { kind: "finding", key: found, severity, title, data, resolveAfterMs };
    }
  }
}

/** One key for what opens and what resolves a finding. */
export function findingKey(
  rule: CompiledRule,
  outcome: Extract<CompiledOutcome, { kind: "finding" }>,
  key: string,
  context: ExpressionContext,
): string {
  if (outcome.key) return textOf(outcome.key.resolve(context), MAX_KEY);
  return key === "" ? rule.definition.name : `${rule.definition.name}:${key}`;
}

function textOf(value: Json, max: number): string {
  const text = typeof value === "string" ? value : JSON.stringify(value);
  return text.length <= max ? text : `${text.slice(0, max - 1)}…`;
}

/** What silences look at. */
function firingFacts(world: RuleWorld, rule: CompiledRule, key: string, { event }: EventView): FiringFacts {
  const { name, namespace } = rule.definition;
  const run = rule.outcomes.find((outcome) => outcome.kind === "run");
  const finding = rule.outcomes.find((outcome) => outcome.kind === "finding");
  const own = eventSource(world.agentId, "");
  return {
    rule: name,
    namespace,
    pipeline: run?.pipeline ?? null,
    trigger: event.source.startsWith(own) ? event.source.slice(own.length) : event.source,
    type: event.type,
    subject: event.subject ?? null,
    key: key === "" ? null : key,
    severity: finding?.severity ?? event.severity ?? null,
  };
}

/** The rule has fired all the same: only what it would have done is left out, and counted. */
function isMuted(rule: CompiledRule, quiet: Quiet | null, what: Mute): boolean {
  if (quiet?.by[what] === undefined) return false;
  quiet.count(what);
  rule.counters.silenced++;
  return true;
}

function carryOut(
  world: RuleWorld,
  collected: Collected,
  rule: CompiledRule,
  view: EventView,
  outcome: Ready,
  quiet: Quiet | null,
): void {
  const { event, index } = view;
  switch (outcome.kind) {
    case "run": {
      const { pipeline, params } = outcome;
      if (isMuted(rule, quiet, "runs")) return;
      collected.runs.push({ rule: rule.definition.name, pipeline, params, event, index });
      return;
    }
    case "emit":
      if (isMuted(rule, quiet, "events")) return;
      derive(world, collected, rule, view, outcome);
      return;
    case "finding": {
      const { kind: _, resolveAfterMs, ...raised } = outcome;
      const silencedBy = quiet?.by.findings ?? null;
      if (silencedBy !== null) quiet!.count("findings");
      const found = world.findings.raise(
        { rule: rule.definition.name, ...raised },
        { event: { source: event.source, id: event.id, hops: event.hops ?? 0 }, resolveAfterMs, silencedBy },
        view.times,
        world.newId,
      );
      if (!found) return note(rule, "the finding was not opened: too many are open already, resolve some");
      collected.putFinding(found.row);
      if (found.opened) tellFinding(world, collected, rule, view, "finding.opened", found.row);
    }
  }
}

export function tellFinding(
  world: RuleWorld,
  collected: Collected,
  rule: CompiledRule,
  view: EventView,
  type: "finding.opened" | "finding.resolved",
  { id, key, title, severity, data, count, extra }: FindingRow,
): void {
  const body = { id, key, rule: rule.definition.name, title, severity, data, count };
  const silenced = silencedOf(extra);
  derive(world, collected, rule, view, { type, subject: null, severity, data: body, silenced });
}

export interface Derived {
  type: string;
  subject: string | null;
  severity: Severity | null;
  data: Json;
  /** What keeps it from people. */
  silenced?: string | null;
}

/** An event that the rule causes; null when it was refused. `cause` null: no event caused it. */
export function derive(
  world: RuleWorld,
  collected: Collected,
  rule: CompiledRule,
  view: Pick<EventView, "times"> & { event: Pick<CloudEvent, "id" | "hops"> | null },
  derived: Derived,
  extraBytes = 0,
): { event: CloudEvent; index: number } | null {
  const event: CloudEvent = {
    specversion: "1.0",
    id: world.newId(),
    source: eventSource(world.agentId, `rule:${rule.definition.name}`),
    type: derived.type,
    time: new Date(view.times.wallMs).toISOString(),
    ...(derived.subject === null ? {} : { subject: derived.subject }),
    ...(derived.severity === null ? {} : { severity: derived.severity }),
    ...(view.event === null || view.event.id === "" ? {} : { causationid: view.event.id }),
    hops: (view.event?.hops ?? 0) + 1,
    ...(derived.silenced ? { silenced: derived.silenced } : {}),
    datacontenttype: "application/json",
    data: derived.data,
  };
  const body = JSON.stringify(event);
  const tooLarge = body.length > world.maxEventBytes + extraBytes;
  const index = tooLarge ? null : collected.derive(rule.definition.name, event, body);
  if (index !== null) return { event, index };
  world.totals.refused++;
  note(
    rule,
    tooLarge
      ? `${derived.type} has ${body.length} bytes, more than limits.event_size (${world.maxEventBytes})`
      : `${derived.type} was not emitted: one commit of events led to too many others`,
  );
  return null;
}
