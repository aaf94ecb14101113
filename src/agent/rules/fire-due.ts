import type { Collected, RuleTimes } from "./collected.ts";
import type { CompiledRule } from "./compiled-rule.ts";
import { derive, fire } from "./fire.ts";
import { dueOf, type KeyState } from "./key-state.ts";
import { EventView, type RuleWorld } from "./rule-world.ts";

/** Keys that one commit fires at most; the rest follows in the next. */
const MAX_DUE = 500;

/** What time alone has brought about: absences and debounced matches. True when more is due. */
export function fireDueKeys(world: RuleWorld, collected: Collected, times: RuleTimes): boolean {
  for (let fired = 0; ;) {
    const next = world.due.peek();
    if (next === undefined || next.atMs > times.trustedMs) return false;
    if (fired >= MAX_DUE) return true;
    world.due.pop();
    const { rule, key } = next;
    const state = rule.keys.get(key)?.state;
    if (!state) continue;
    state.queued = false;
    if (fireKey(world, collected, rule, key, state, times)) fired++;
    requeue(world, rule, key, state);
  }
}

/** The key was moved on since it took its place, or waits for something else as well. */
function requeue(world: RuleWorld, rule: CompiledRule, key: string, state: KeyState): void {
  const atMs = dueOf(state);
  if (atMs === null || state.queued) return;
  state.queued = true;
  world.due.push({ atMs, rule, key });
}

function fireKey(
  world: RuleWorld,
  collected: Collected,
  rule: CompiledRule,
  key: string,
  state: KeyState,
  times: RuleTimes,
): boolean {
  const { pending, absence } = state;
  if (pending && pending.dueMs <= times.trustedMs) {
    state.pending = null;
    collected.touchState(rule, key);
    const { event, window } = pending;
    const data = event.data ?? null;
    const { subject = null, severity = null } = event;
    const derived = { type: "rule.debounced", subject, severity, data };
    const made = derive(world, collected, rule, { times, event }, derived);
    if (made) fire(world, collected, rule, key, viewOf(made, times, world), window);
    return true;
  }
  if (absence?.dueMs != null && absence.dueMs <= times.trustedMs) {
    state.absence = { ...absence, dueMs: null };
    collected.touchState(rule, key);
    const derived = {
      type: "rule.absent",
      subject: key === "" ? null : key,
      severity: null,
      data: { key, sinceMs: absence.sinceMs },
    };
    const cause = { times, event: { id: "", hops: absence.hops } };
    const made = derive(world, collected, rule, cause, derived);
    if (made) fire(world, collected, rule, key, viewOf(made, times, world), null);
    // A key that came with an event is watched again from its next one; the one of the rule itself must be remembered.
    if (rule.by !== null) state.absence = null;
    return true;
  }
  return false;
}

function viewOf(
  made: { event: EventView["event"]; index: number },
  times: RuleTimes,
  world: RuleWorld,
): EventView {
  return new EventView(made.event, made.index, times.trustedMs, times, world.agent);
}
