/** `half_open`: the delay is over, and one call is let through to see. */
export type BreakerState = "closed" | "open" | "half_open";

/** What happens to a breaker: `failures` failures in a row are `tripped`, fewer change nothing. */
export type BreakerEvent = "tripped" | "elapsed" | "failed" | "succeeded";

/** Every change of state that a circuit breaker may make; what is not listed leaves it as it is. */
const BREAKER_TRANSITIONS: Record<BreakerState, Partial<Record<BreakerEvent, BreakerState>>> = {
  closed: { tripped: "open" },
  open: { elapsed: "half_open" },
  half_open: { failed: "open", tripped: "open", succeeded: "closed" },
};

export function nextBreakerState(from: BreakerState, event: BreakerEvent): BreakerState {
  return BREAKER_TRANSITIONS[from][event] ?? from;
}

/** What a breaker counts: the origin of an address, else the text as it is. */
export function breakerDestination(text: string): string {
  if (!URL.canParse(text)) return text;
  const { origin } = new URL(text);
  return origin === "null" ? text : origin;
}
