import type { CloudEvent } from "../../model/event.ts";
import type { Json } from "../../model/json.ts";
import type { Absence } from "./absence.ts";
import type { Pending, WindowFacts } from "./debounce.ts";
import type { KeyWindow } from "./key-window.ts";
import type { Chains } from "./sequence.ts";

/** What a rule remembers of a key beside its window. */
export interface KeyState {
  /** Last firing; null unless the rule has a cooldown. */
  cooledMs: number | null;
  /** Firings that the throttle counts. */
  fired: number[];
  chains: Chains;
  /** Newest event that met a step of the sequence. */
  newestMs: number;
  absence: Absence | null;
  pending: Pending | null;
  /** It has a place among the due times. */
  queued: boolean;
  /** The store has a row of it. */
  stored: boolean;
}

export interface KeyMemory {
  /** Trusted time of arrival of the last event, to about a second. */
  touchedMs: number;
  window: KeyWindow | null;
  state: KeyState | null;
}

export function emptyState(): KeyState {
  return {
    cooledMs: null,
    fired: [],
    chains: [],
    newestMs: -Infinity,
    absence: null,
    pending: null,
    queued: false,
    stored: false,
  };
}

/** When time alone makes this key do something; null when it never does. */
export function dueOf(state: KeyState): number | null {
  const pending = state.pending?.dueMs ?? Infinity;
  const absence = state.absence?.dueMs ?? Infinity;
  const due = Math.min(pending, absence);
  return due === Infinity ? null : due;
}

/** As the store keeps it, short because it is written often; null when there is nothing to remember. */
export function stateBody(state: KeyState): Json | null {
  const body: { [name: string]: Json } = {};
  if (state.cooledMs !== null) body.c = state.cooledMs;
  if (state.fired.length > 0) body.t = state.fired;
  if (state.chains.some((chain) => chain !== null)) body.s = state.chains as Json;
  if (state.newestMs > -Infinity && body.s !== undefined) body.n = state.newestMs;
  if (state.absence) body.a = [state.absence.sinceMs, state.absence.dueMs, state.absence.hops];
  if (state.pending) {
    const { dueMs, event, window, matches } = state.pending;
    body.d = [dueMs, event as unknown as Json, window as unknown as Json, matches];
  }
  for (const _ in body) return body;
  return null;
}

export function stateFromBody(body: Json): KeyState {
  const { c, t, s, n, a, d } = body as {
    c?: number;
    t?: number[];
    s?: Chains;
    n?: number;
    a?: [number, number | null, number];
    d?: [number, CloudEvent, WindowFacts | null, number];
  };
  const state = emptyState();
  state.stored = true;
  if (c !== undefined) state.cooledMs = c;
  if (t) state.fired = t;
  if (s) state.chains = s;
  if (n !== undefined) state.newestMs = n;
  if (a) state.absence = { sinceMs: a[0], dueMs: a[1], hops: a[2] };
  if (d) state.pending = { dueMs: d[0], event: d[1], window: d[2], matches: d[3] };
  return state;
}
