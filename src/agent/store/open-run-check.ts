import { hasEnded, RUN_STATES, type RunRow, type StepRow } from "../../model/run.ts";
import { damagedText } from "./stored-json.ts";

/**
 * Throws `corrupt` where the states of an open run are none that it can be in: its row changed, or an index led to another
 * one. Taken up, it would never end.
 */
export function checkOpenRun(run: RunRow, steps: StepRow[]): void {
  if (hasEnded(run.state) || ![run, ...steps].every(({ state }) => RUN_STATES.includes(state))) {
    throw damagedText();
  }
}
