import type { BreakerState } from "./breaker.ts";
import type { GrantSummary } from "./grant.ts";
import type { Protections } from "./protection.ts";
import type { Verdict } from "./worker-end.ts";

/** State of a trigger, output or plugin (DESIGN section 4). */
export const PART_STATES = [
  "starting",
  "running",
  "draining",
  "stopped",
  "failed",
  "quarantined",
  "held",
] as const;
export type PartState = (typeof PART_STATES)[number];

export interface PartStatus {
  name: string;
  plugin: string;
  kind: "trigger" | "action" | "output";
  state: PartState;
  /** Times the worker was started again since the agent's start. */
  restarts: number;
  /** Why it is not running; the last error. */
  reason?: string;
  /** What its worker may do, after the policy. */
  granted?: GrantSummary;
  /** Why the policy, or the place that it asks for, refuses it; all reasons. */
  refused?: string[];
  /** How its last worker ended. */
  verdict?: Verdict;
  /** How far an output is; the counts are since the agent's start. */
  delivery?: OutputDelivery;
}

export interface OutputDelivery {
  /** Events that it has not dealt with, matching or not, when it last looked. */
  behind: number;
  circuit: BreakerState;
  /** In a row. */
  failures: number;
  /** Events that the destination refused for good. */
  rejected: number;
  /** Events that were let go, by severity; `none` has none, and of `unknown` nothing is known. */
  lost: Record<string, number>;
  /** Some were let go within the last hour. */
  recentLoss: boolean;
  /** Why it does not get on. */
  lastError?: string;
}

export type CheckState = "ok" | "degraded" | "failed";

/** One line of `/readyz?verbose`. Only `failed` makes the agent unready. */
export interface HealthCheck {
  name: string;
  state: CheckState;
  reason?: string;
}

/** Facts about the host, told in hello. */
export interface HostFacts {
  hostname: string;
  os: string;
  kernel: string;
  arch: string;
  cpus: number;
  memoryBytes: number;
  addresses: string[];
  version: string;
  bun: string;
  /** What the kernel holds workers to; null until it is known. */
  protections: Protections | null;
}
