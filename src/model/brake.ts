import * as v from "valibot";

/** The trigger of events about what people do with the agent itself. */
export const AGENT_TRIGGER = "agent";
export const MAX_BRAKE_REASON = 1000;
/** Longest time that a brake is set for; without one it stays on until it is released. */
export const MAX_BRAKE_MS = 366 * 86_400_000;

/** The brake as a person set it: nothing of a run that no person started begins. */
export const brakeSchema = v.object({
  by: v.string(),
  reason: v.string(),
  /** Wall time, for display. */
  sinceMs: v.number(),
  /** Trusted milliseconds; null: until it is released. */
  untilMs: v.nullable(v.number()),
});
export type BrakeSet = v.InferOutput<typeof brakeSchema>;

/** What the store holds under the setting; what cannot be read counts as a brake that is on: nothing begins by mistake. */
export function storedBrake(value: unknown): BrakeSet | null {
  if (value === undefined || value === null) return null;
  const parsed = v.safeParse(brakeSchema, value);
  return parsed.success
    ? parsed.output
    : { by: "unknown", reason: "what the store says of it cannot be read", sinceMs: 0, untilMs: null };
}

/** Why something does not begin, as runs show it. */
export function brakeText({ by, reason }: Pick<BrakeSet, "by" | "reason">): string {
  return `held back by the brake (${by}${reason === "" ? "" : `: ${reason}`})`;
}
