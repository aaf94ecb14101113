import type { StepRow } from "../../model/run.ts";
import type { PlannedChange, Times } from "./plan.ts";
import type { LiveRun } from "./ports.ts";

/** An approval step asks. `deadlineMs`: trusted time. */
export declare function planAsk(
  live: LiveRun,
  step: StepRow,
  approval: { text: string; approvers: string[]; strict: boolean; deadlineMs: number },
  now: Times,
): PlannedChange;

/** A person's word on an approval, or on a step whose outcome is unknown (approve: run it again). */
export declare function planDecision(
  live: LiveRun,
  step: StepRow,
  answer: { approve: boolean; by: string; note: string },
  now: Times,
): PlannedChange;

/**
 * An approval was not answered in time, or `extra.deadlineMs` of a step has passed. Of a running attempt: call it when
 * nothing of it runs any more. Of a running `foreach`: its items in `abort` are to be stopped.
 */
export declare function planTimeout(live: LiveRun, step: StepRow, now: Times): PlannedChange;

/**
 * The run takes its place in the queue of a lock; a null step is the pipeline's own. It waits, unless `held` says that
 * the lock is free or the run's already.
 */
export declare function planLock(
  live: LiveRun,
  step: StepRow | null,
  lock: string,
  now: Times,
  held?: boolean,
): PlannedChange;

/** What waited for a lock has it now. */
export declare function planUnlocked(live: LiveRun, step: StepRow | null, now: Times): PlannedChange;
