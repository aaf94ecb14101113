/** The trigger of events about what people do with the agent itself. */
export const AGENT_TRIGGER = "agent";
export const MAX_BRAKE_REASON = 1000;
/** Longest time that a brake is set for; without one it stays on until it is released. */
export const MAX_BRAKE_MS = 366 * 86_400_000;

/** The brake as a person set it: nothing of a run that no person started begins. */
export interface BrakeSet {
  by: string;
  reason: string;
  /** Wall time, for display. */
  sinceMs: number;
  /** Trusted milliseconds; null: until it is released. */
  untilMs: number | null;
}

/** What the store holds under the setting; what cannot be read counts as a brake that is on: nothing begins by mistake. */
export function storedBrake(value: unknown): BrakeSet | null {
  if (value === undefined || value === null) return null;
  return isBrakeSet(value)
    ? value
    : { by: "unknown", reason: "what the store says of it cannot be read", sinceMs: 0, untilMs: null };
}

/** By hand: an idle agent reads it, and does not load the schema library. */
function isBrakeSet(value: unknown): value is BrakeSet {
  const { by, reason, sinceMs, untilMs } = value as Partial<Record<keyof BrakeSet, unknown>>;
  const texts = typeof by === "string" && typeof reason === "string";
  return texts && Number.isFinite(sinceMs) && (untilMs === null || Number.isFinite(untilMs));
}

/** Why something does not begin, as runs show it. */
export function brakeText({ by, reason }: Pick<BrakeSet, "by" | "reason">): string {
  return `held back by the brake (${by}${reason === "" ? "" : `: ${reason}`})`;
}
