export interface BackoffPolicy {
  kind: "fixed" | "linear" | "exponential";
  initialMs: number;
  maxMs: number;
}

/**
 * Delay before try number `attempt` (1 = the first retry). Below the cap it grows as the policy says; at the cap it is
 * full jitter in [cap/2, cap], so that a fleet does not return in step. `random` is uniform in [0, 1).
 */
export function backoffDelay(policy: BackoffPolicy, attempt: number, random: () => number): number {
  const n = Math.max(1, attempt);
  const grown =
    policy.kind === "fixed"
      ? policy.initialMs
      : policy.kind === "linear"
        ? policy.initialMs * n
        : policy.initialMs * 2 ** Math.min(n - 1, 40);
  if (grown < policy.maxMs) return grown;
  return policy.maxMs / 2 + (policy.maxMs / 2) * random();
}
