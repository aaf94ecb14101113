import type { AttemptOutcome } from "../../model/run-transitions.ts";
import type { StepError, StepRow } from "../../model/run.ts";
import type { PlannedChange, Times } from "./plan.ts";
import type { LiveRun } from "./ports.ts";

/** An attempt ended, or the child run of a `pipeline` step (then an `ok`, or an `error` that is not retryable). */
export declare function planOutcome(
  live: LiveRun,
  leased: StepRow,
  outcome: AttemptOutcome,
  now: Times,
  random: () => number,
): PlannedChange;

/**
 * A queued step that cannot be started. A retryable error (an open circuit) counts as an attempt and is retried within
 * the policy; any other ends the step as failed.
 */
export declare function planUnstarted(
  live: LiveRun,
  step: StepRow,
  error: StepError,
  now: Times,
  random?: () => number,
): PlannedChange;

/** Its `when` is false. */
export declare function planSkip(live: LiveRun, step: StepRow, now: Times): PlannedChange;

/** An aborted attempt (or child run) has ended: `cancelled`, or `timed_out` where a deadline was the reason. */
export declare function planCancelled(live: LiveRun, leased: StepRow, now: Times): PlannedChange;
