import type { RuleMemory } from "../../model/rule.ts";
import { afterStart, watchFrom } from "./absence.ts";
import { COUNTS_KEY } from "./collected.ts";
import type { CompiledRule } from "./compiled-rule.ts";
import { stateOf } from "./fire.ts";
import { dueOf, stateFromBody } from "./key-state.ts";
import { KeyWindow } from "./key-window.ts";
import type { RuleWorld } from "./rule-world.ts";

/** Takes over what the store holds, in place of all that the rules remember. */
export function loadMemory(
  world: RuleWorld,
  rules: CompiledRule[],
  memory: Omit<RuleMemory, "version">,
  nowMs: number,
): void {
  const byIdentity = new Map(rules.map((rule) => [rule.identity, rule]));
  for (const rule of rules) forgetAll(rule);
  world.due.clear();
  world.findings.load(memory.openFindings);
  for (const { rule: identity, key, body } of memory.states) {
    const rule = byIdentity.get(identity);
    if (!rule || body === null) continue;
    if (key === COUNTS_KEY) [rule.firedEver, rule.lastFiredMs] = body as [number, number | null];
    else if (key.startsWith("=")) rule.keys.touch(key.slice(1), nowMs).state = stateFromBody(body);
  }
  loadEntries(world, byIdentity, memory.entries, nowMs);
  for (const rule of rules) if (isActive(rule)) queueDue(world, rule, nowMs);
}

export function isActive(rule: CompiledRule): boolean {
  return rule.definition.enabled && rule.broken === null;
}

function forgetAll(rule: CompiledRule): void {
  rule.keys.clear();
  rule.firedEver = 0;
  rule.lastFiredMs = null;
  rule.sweepAtMs = 0;
}

/** In the order of time, so that each is put at the end of its window. */
function loadEntries(
  world: RuleWorld,
  byIdentity: Map<string, CompiledRule>,
  entries: RuleMemory["entries"],
  nowMs: number,
): void {
  for (const { rule: identity, key, atMs, value } of [...entries].sort((a, b) => a.atMs - b.atMs)) {
    const rule = byIdentity.get(identity);
    if (!rule?.definition.window) continue;
    const memory = rule.keys.touch(key, nowMs);
    const window = (memory.window ??= new KeyWindow());
    window.add(atMs, value, rule.definition.window.overMs);
    if (window.count > world.maxEntries) window.dropOldest();
    rule.keys.takeOverflow(world.maxKeys);
  }
}

function queueDue(world: RuleWorld, rule: CompiledRule, nowMs: number): void {
  const { absence } = rule.definition;
  for (const [key, { state }] of rule.keys.entries()) {
    if (!state) continue;
    if (absence && state.absence) state.absence = afterStart(state.absence, nowMs, absence.forMs);
    const atMs = dueOf(state);
    if (atMs === null) continue;
    state.queued = true;
    world.due.push({ atMs, rule, key });
  }
}

/** An absence without a key is watched from the rule's start on: true when that is new, and the store must be told. */
export function beginWatching(world: RuleWorld, rule: CompiledRule, nowMs: number): boolean {
  const { absence } = rule.definition;
  if (!absence || rule.by !== null || !isActive(rule)) return false;
  const state = stateOf(rule, "", nowMs);
  if (state.absence !== null) return false;
  state.absence = watchFrom(nowMs, absence.forMs);
  state.queued = true;
  world.due.push({ atMs: state.absence.dueMs!, rule, key: "" });
  return true;
}
