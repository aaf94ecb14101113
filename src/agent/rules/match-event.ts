import { messageOf } from "../../core/errors.ts";
import { MAX_HOPS } from "../../model/rule.ts";
import { heardOf } from "./absence.ts";
import type { Collected } from "./collected.ts";
import { type CompiledRule, needsMemory, note } from "./compiled-rule.ts";
import { debounced, type WindowFacts } from "./debounce.ts";
import { findingKey, fire, stateOf, tellFinding } from "./fire.ts";
import { dueOf, type KeyState } from "./key-state.ts";
import { KeyWindow, type WindowValue } from "./key-window.ts";
import type { Candidates } from "./rule-index.ts";
import { type EventView, holds, keyOf, type RuleWorld } from "./rule-world.ts";
import { advanceSequence } from "./sequence.ts";
import { computeWindow, entryValue } from "./window-value.ts";

/** An event further ahead of the trusted time than this is late: its clock is wrong. */
export const FUTURE_MS = 300_000;

export function matchEvent(
  world: RuleWorld,
  collected: Collected,
  candidates: Candidates,
  view: EventView,
): void {
  if ((view.event.hops ?? 0) >= MAX_HOPS) {
    world.totals.hops++;
    return;
  }
  for (const rule of candidates.rules) guarded(rule, () => matchRule(world, collected, rule, view));
  if (world.findings.size === 0) return;
  for (const rule of candidates.resolvers) guarded(rule, () => resolveFindings(world, collected, rule, view));
}

/** Whatever an event brings (data nested without end, say), it costs this rule its turn and nothing else. */
export function guarded(rule: CompiledRule, work: () => void): void {
  try {
    work();
  } catch (error) {
    note(rule, messageOf(error));
  }
}

function matchRule(world: RuleWorld, collected: Collected, rule: CompiledRule, view: EventView): void {
  const { definition, counters } = rule;
  counters.evaluated++;
  if (rule.when !== null && !holds(rule, rule.when, () => view.contextOf(rule))) return;
  if (!needsMemory(definition)) {
    counters.matched++;
    const key = keyOf(rule, view);
    if (key !== null) fire(world, collected, rule, key, view, null);
    return;
  }
  const meets = definition.sequence ? stepsMet(rule, view) : null;
  if (meets && !meets.includes(true)) return;
  counters.matched++;
  const key = keyOf(rule, view);
  if (key === null) return;
  collected.stateful = true;
  remember(world, collected, rule, key, view, meets);
  letGo(world, collected, rule);
}

function remember(
  world: RuleWorld,
  collected: Collected,
  rule: CompiledRule,
  key: string,
  view: EventView,
  meets: boolean[] | null,
): void {
  const { definition } = rule;
  if (definition.absence) return heard(world, collected, rule, key, view);
  let window: WindowFacts | null = null;
  if (definition.window) {
    window = windowHolds(world, collected, rule, key, view);
    if (window === null) return;
  }
  if (meets && !sequenceComplete(collected, rule, key, view, meets)) return;
  if (definition.debounceMs === 0) return fire(world, collected, rule, key, view, window);
  const state = stateOf(rule, key, view.times.trustedMs);
  state.pending = debounced(state.pending, view.event, window, view.times.trustedMs, definition.debounceMs);
  awaitDue(world, collected, rule, key, state);
}

/** Notes the time at which the key is due. One place for a key: a later time is found out when the earlier one comes. */
export function awaitDue(
  world: RuleWorld,
  collected: Collected,
  rule: CompiledRule,
  key: string,
  state: KeyState,
): void {
  collected.touchState(rule, key);
  const atMs = dueOf(state);
  if (atMs === null || state.queued) return;
  state.queued = true;
  world.due.push({ atMs, rule, key });
}

function heard(
  world: RuleWorld,
  collected: Collected,
  rule: CompiledRule,
  key: string,
  { event, atMs, times }: EventView,
): void {
  const state = stateOf(rule, key, times.trustedMs);
  const { forMs } = rule.definition.absence!;
  const tooNew = atMs > times.trustedMs + FUTURE_MS;
  const absence = tooNew ? null : heardOf(state.absence, atMs, event.hops ?? 0, times.trustedMs, forMs);
  if (absence === null) {
    rule.counters.late++;
    return;
  }
  state.absence = absence;
  awaitDue(world, collected, rule, key, state);
}

/** The window with this event in it, when its condition holds. */
function windowHolds(
  world: RuleWorld,
  collected: Collected,
  rule: CompiledRule,
  key: string,
  view: EventView,
): WindowFacts | null {
  const { compute, overMs } = rule.definition.window!;
  const value = rule.of === null ? null : valueOf(rule, view);
  if (value === undefined) return null;
  const { atMs, times } = view;
  const memory = rule.keys.touch(key, times.trustedMs);
  const window = (memory.window ??= new KeyWindow());
  if (atMs > times.trustedMs + FUTURE_MS || window.isLate(atMs, overMs)) {
    rule.counters.late++;
    return null;
  }
  window.add(atMs, value, overMs);
  collected.touchRule(rule);
  collected.addEntry({ rule: rule.identity, key, atMs, value });
  while (window.count > world.maxEntries) {
    window.dropOldest();
    rule.counters.dropped++;
  }
  const facts = { value: computeWindow(compute, window), count: window.count };
  return holds(rule, rule.is, () => view.contextWith(rule, key, facts)) ? facts : null;
}

/** Undefined when the event has no value, which is counted. */
function valueOf(rule: CompiledRule, view: EventView): WindowValue | undefined {
  const result = rule.of!.evaluate(view.contextOf(rule));
  if (result.kind === "skipped") rule.counters.skipped++;
  else if (result.kind === "error") note(rule, `window.of: ${result.message}`);
  else {
    try {
      return entryValue(rule.definition.window!.compute, result.value);
    } catch (error) {
      note(rule, messageOf(error));
    }
  }
  return undefined;
}

function stepsMet(rule: CompiledRule, view: EventView): boolean[] {
  return rule.steps.map(
    ({ types, when }) =>
      (types.length === 0 || types.includes(view.event.type)) &&
      holds(rule, when, () => view.contextOf(rule)),
  );
}

function sequenceComplete(
  collected: Collected,
  rule: CompiledRule,
  key: string,
  view: EventView,
  meets: boolean[],
): boolean {
  const { withinMs } = rule.definition.sequence!;
  const { atMs, times } = view;
  const state = stateOf(rule, key, times.trustedMs);
  if (atMs > times.trustedMs + FUTURE_MS || state.newestMs - atMs > withinMs) {
    rule.counters.late++;
    return false;
  }
  const { chains, complete } = advanceSequence(state.chains, meets, atMs, withinMs);
  state.chains = chains;
  state.newestMs = Math.max(state.newestMs, atMs);
  collected.touchState(rule, key);
  return complete;
}

/** Forgets the keys that were silent longest when a rule has too many. */
function letGo(world: RuleWorld, collected: Collected, rule: CompiledRule): void {
  for (;;) {
    const dropped = rule.keys.takeOverflow(world.maxKeys);
    if (!dropped) return;
    rule.counters.dropped++;
    const [key, { state }] = dropped;
    if (state?.stored) collected.forget(rule, key);
  }
}

function resolveFindings(world: RuleWorld, collected: Collected, rule: CompiledRule, view: EventView): void {
  for (const outcome of rule.outcomes) {
    if (outcome.kind !== "finding" || outcome.resolvedWhen === null) continue;
    if (!holds(rule, outcome.resolvedWhen, () => view.contextOf(rule))) continue;
    const key = keyOf(rule, view);
    if (key === null) return;
    collected.stateful = true;
    try {
      const wanted = findingKey(rule, outcome, key, view.contextWith(rule, key, null));
      const row = world.findings.resolve(wanted, view.times.wallMs);
      if (!row) continue;
      collected.putFinding(row);
      tellFinding(world, collected, rule, view, "finding.resolved", row);
    } catch (error) {
      note(rule, messageOf(error));
    }
  }
}
