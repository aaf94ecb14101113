import type { NewRun } from "../../model/run-build.ts";
import type { StepRow } from "../../model/run.ts";
import type { LiveRun, RunChange } from "./ports.ts";

export interface Times {
  /** For display. */
  wallMs: number;
  /** For deadlines, waits and windows. */
  trustedMs: number;
}

/** A change together with the rows as they stand once it is committed. Plans never touch the rows they were given. */
export interface PlannedChange {
  change: RunChange;
  run: LiveRun["run"];
  /** Rows that are new or changed. */
  steps: StepRow[];
  /** Ids of rows that are gone. */
  removed: string[];
  /** Rows that may be started now, or when their `notBeforeMs` has come. */
  queued: StepRow[];
  started: NewRun[];
  /** Running rows whose attempt or child run must now be stopped; `planCancelled` when nothing of it runs any more. */
  abort: StepRow[];
}
