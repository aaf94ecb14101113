import type { Json } from "../../model/json.ts";
import type { RunStop } from "../../model/run.ts";
import type { PlannedChange, Times } from "./plan.ts";
import type { LiveRun } from "./ports.ts";

/**
 * The run is to end early. What has not begun is skipped; attempts and children in `abort` are to be stopped. A run
 * that has not begun ends at once. A deadline or a lock binds only while `steps` run: later this changes nothing.
 */
export declare function planStop(live: LiveRun, stop: RunStop, now: Times): PlannedChange;

/**
 * For a pipeline with an `output`: completes a plan that ends the run as succeeded (`planned.run.state`), before it is
 * committed. A problem makes the run fail with it.
 */
export declare function planOutput(
  planned: PlannedChange,
  live: LiveRun,
  output: { value: Json } | { problem: string },
  now: Times,
): PlannedChange;
