/** When a key may fire again. Times are trusted milliseconds, so that a jump of the host's clock changes nothing. */

/** Least time between two firings. */
export function isCooling(lastMs: number | null, cooldownMs: number, nowMs: number): boolean {
  return lastMs !== null && cooldownMs > 0 && nowMs - lastMs < cooldownMs;
}

export interface Throttle {
  count: number;
  perMs: number;
}

/** True when the last `perMs`, its beginning excluded, saw `count` firings already. */
export function isThrottled(fired: readonly number[], throttle: Throttle | null, nowMs: number): boolean {
  return throttle !== null && stillCounted(fired, throttle, nowMs).length >= throttle.count;
}

/** Firings that a throttle still counts. */
export function stillCounted(fired: readonly number[], throttle: Throttle, nowMs: number): number[] {
  return fired.filter((at) => nowMs - at < throttle.perMs);
}
