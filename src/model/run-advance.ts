import type { RunDraft, Times } from "./run-draft.ts";
import { advanceForeach } from "./run-foreach.ts";
import { advanceNeeds } from "./run-needs.ts";
import { advanceParts } from "./run-parts.ts";

/** What follows for a run from what has just happened to some of its steps. */
export function advanceRun(draft: RunDraft, now: Times): void {
  for (const step of foreachesOf(draft)) advanceForeach(draft, step, now);
  advanceNeeds(draft, now);
  advanceParts(draft, now);
}

function foreachesOf(draft: RunDraft): Set<string> {
  const steps = new Set<string>();
  for (const { extra } of draft.changed.values()) if (extra?.foreach) steps.add(extra.foreach.step);
  return steps;
}
