import type { ProposedEvent } from "./event.ts";
import type { JsonObject } from "./json.ts";

/** The trigger of events about the host's clock. */
export const CLOCK_TRIGGER = "clock";

/** What clocks are put right by as a host wakes up. */
const PUT_RIGHT_MS = 60_000;

/** The wall clock was set by `byMs`, or the host was asleep, which looks the same, for `asleepMs`. */
export function clockJumped(jump: { byMs: number; asleepMs: number }): ProposedEvent {
  const { byMs, asleepMs } = jump;
  const data: JsonObject = asleepMs > 0 ? { byMs, asleepMs } : { byMs };
  return { type: "clock.jumped", severity: isSleep(jump) ? "info" : "warning", data };
}

/** Whether the host's sleep was all of it. */
export function isSleep({ byMs, asleepMs }: { byMs: number; asleepMs: number }): boolean {
  return asleepMs > 0 && Math.abs(byMs - asleepMs) <= PUT_RIGHT_MS;
}
