import type { Json } from "../../model/json.ts";
import type { NewRun } from "../../model/run-build.ts";
import type { StepRow } from "../../model/run.ts";
import type { PlannedChange, Times } from "./plan.ts";
import type { LiveRun } from "./ports.ts";

/** The lease of an attempt, or with `child` of a step that is a run of its own (no attempt). */
export declare function planLease(
  live: LiveRun,
  step: StepRow,
  now: Times,
  options?: { child?: NewRun },
): PlannedChange;

/** A `foreach` begins: its step is `running` without an attempt, its first items are queued (as many as its cap). */
export declare function planItems(live: LiveRun, step: StepRow, items: Json[], now: Times): PlannedChange;
