import type { Collected } from "./collected.ts";
import type { CompiledRule } from "./compiled-rule.ts";
import { dueOf, type KeyMemory } from "./key-state.ts";

const LEAST_MS = 30_000;
const MOST_MS = 600_000;
/** Keys that one commit forgets at most: each may be a row to delete. */
const MAX_FORGOTTEN = 1000;

/** Forgets the keys of a rule that were silent for long, and what the store holds of them; now and then. */
export function sweepWhenDue(collected: Collected, rule: CompiledRule, nowMs: number): void {
  if (nowMs < rule.sweepAtMs) return;
  const done = forgetSilent(collected, rule, nowMs - rule.keepMs);
  rule.sweepAtMs = done ? nowMs + Math.min(MOST_MS, Math.max(LEAST_MS, rule.keepMs / 8)) : nowMs;
  if (rule.definition.window && done) expireEntries(collected, rule, nowMs);
}

function forgetSilent(collected: Collected, rule: CompiledRule, beforeMs: number): boolean {
  let forgotten = 0;
  for (const [key, memory] of rule.keys.entries()) {
    if (memory.touchedMs > beforeMs) return true;
    if (isAwaited(memory)) continue;
    if (forgotten++ >= MAX_FORGOTTEN) return false;
    rule.keys.delete(key);
    if (memory.state?.stored) collected.forget(rule, key);
  }
  return true;
}

/** Something is to come of it by itself, or its having come must not be forgotten. */
function isAwaited({ state }: KeyMemory): boolean {
  return state !== null && (dueOf(state) !== null || state.absence !== null);
}

/** The store may forget what is older than all that is held here; what it keeps too long does no harm. */
function expireEntries(collected: Collected, rule: CompiledRule, nowMs: number): void {
  let oldest = nowMs - rule.definition.window!.overMs;
  for (const [, { window }] of rule.keys.entries()) if (window) oldest = Math.min(oldest, window.oldest);
  collected.expire(rule, oldest);
}
