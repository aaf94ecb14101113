/** How long a key has been without an event. Times: trusted milliseconds. */
export interface Absence {
  /** The last event, or the start of the rule. */
  sinceMs: number;
  /** When it is told; null once it was, until the next event. */
  dueMs: number | null;
  /** Hops of the last event. */
  hops: number;
}

/** The rule has begun to watch a key that no event came for yet. */
export function watchFrom(nowMs: number, forMs: number): Absence {
  return { sinceMs: nowMs, dueMs: nowMs + forMs, hops: 0 };
}

/** An event came. Null when it is so old that its own absence would be due already: it says nothing about now. */
export function heardOf(
  before: Absence | null,
  atMs: number,
  hops: number,
  nowMs: number,
  forMs: number,
): Absence | null {
  const sinceMs = Math.min(atMs, nowMs);
  if (before !== null && before.dueMs !== null && sinceMs <= before.sinceMs) return before;
  if (sinceMs + forMs <= nowMs) return null;
  return { sinceMs, dueMs: sinceMs + forMs, hops };
}

/** What was due while the agent was off is counted anew: nobody looked, so nobody can say that nothing came. */
export function afterStart(absence: Absence, nowMs: number, forMs: number): Absence {
  if (absence.dueMs === null || absence.dueMs > nowMs) return absence;
  return { ...absence, dueMs: nowMs + forMs };
}
