import type { BackoffPolicy } from "../../core/backoff.ts";

/** Patience with workers, in milliseconds. */
export interface WorkerTiming {
  /** From the start of the process until it answers `ready`, and from a trigger's or output's start until `started`. */
  startMs: number;
  /** For a worker to finish at a drain before it is killed. */
  drainMs: number;
  /** Between the cancel of a call and the kill of its worker. */
  cancelMs: number;
  /** For one batch of an output. */
  writeMs: number;
  /** Between two pings; a worker that left three unanswered is hung and is killed. */
  pingMs: number;
  /** Between a crash and the next start. */
  backoff: BackoffPolicy;
}

export const DEFAULT_TIMING: WorkerTiming = {
  startMs: 15_000,
  drainMs: 3_000,
  cancelMs: 500,
  writeMs: 60_000,
  pingMs: 10_000,
  backoff: { kind: "exponential", initialMs: 250, maxMs: 30_000 },
};
