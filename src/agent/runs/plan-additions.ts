import type { Addition, Effect } from "../../model/pipeline.ts";
import type { NewRun } from "../../model/run-build.ts";
import type { StepRow } from "../../model/run.ts";
import type { PlannedChange, Times } from "./plan.ts";
import type { LiveRun } from "./ports.ts";

/**
 * Steps and runs that a running action asks for. Throws `conflict` when its attempt is over, `invalid` where nothing
 * may be added. `makeRun` makes a spawned run with the given parent key; `effectOf` says what an action declares.
 */
export declare function planAdditions(
  live: LiveRun,
  step: StepRow,
  additions: Addition[],
  makeRun: (addition: Addition, key: string) => NewRun,
  now: Times,
  effectOf?: (action: string) => Effect,
): PlannedChange;
