import type { CloudEvent } from "../../model/event.ts";
import type { WindowValue } from "./key-window.ts";

/** What a window gave when its rule matched, for templates. */
export interface WindowFacts {
  value: WindowValue;
  count: number;
}

/** A match that fires unless another one comes first. Times: trusted milliseconds, of arrival. */
export interface Pending {
  dueMs: number;
  event: CloudEvent;
  window: WindowFacts | null;
  /** Matches that it stands for. */
  matches: number;
}

export function debounced(
  before: Pending | null,
  event: CloudEvent,
  window: WindowFacts | null,
  nowMs: number,
  debounceMs: number,
): Pending {
  return { dueMs: nowMs + debounceMs, event, window, matches: (before?.matches ?? 0) + 1 };
}
