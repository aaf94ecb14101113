import type { Collected, RuleTimes } from "./collected.ts";
import type { CompiledRule } from "./compiled-rule.ts";
import { derive, fire } from "./fire.ts";
import { dueOf, type KeyState } from "./key-state.ts";
import { guarded } from "./match-event.ts";
import { EventView, type RuleWorld } from "./rule-world.ts";

/** Events after which a commit takes no more keys, far from those that it can hold; the rest follows in the next. */
const ENOUGH = 500;
/** What these events may be larger than others: a match that was accepted must not be lost for what is put around it. */
const OWN_BYTES = 4096;

/** What time alone has brought about: absences and debounced matches. `follow` lets rules look at what one has caused. */
export function fireDueKeys(
  world: RuleWorld,
  collected: Collected,
  times: RuleTimes,
  follow: () => void,
): void {
  while (collected.derived.length < ENOUGH) {
    const next = world.due.peek();
    if (next === undefined || next.atMs > times.trustedMs) return;
    world.due.pop();
    const { rule, key } = next;
    const state = rule.keys.get(key)?.state;
    if (!state) continue;
    state.queued = false;
    guarded(rule, () => fireKey(world, collected, rule, key, state, times));
    follow();
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
): void {
  const { pending, absence } = state;
  if (pending && pending.dueMs <= times.trustedMs) {
    state.pending = null;
    collected.touchState(rule, key);
    const { event, window } = pending;
    const data = event.data ?? null;
    const { subject = null, severity = null } = event;
    const derived = { type: "rule.debounced", subject, severity, data };
    const made = derive(world, collected, rule, { times, event }, derived, OWN_BYTES);
    if (made) fire(world, collected, rule, key, viewOf(made, times, world), window);
    return;
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
    const made = derive(world, collected, rule, cause, derived, OWN_BYTES);
    if (made) fire(world, collected, rule, key, viewOf(made, times, world), null);
    // A key that came with an event is watched again from its next one; the one of the rule itself must be remembered.
    if (rule.by !== null) state.absence = null;
  }
}

function viewOf(
  made: { event: EventView["event"]; index: number },
  times: RuleTimes,
  world: RuleWorld,
): EventView {
  return new EventView(made.event, made.index, times.trustedMs, times, world);
}
