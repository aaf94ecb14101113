import { hasEnded, type StepRow } from "./run.ts";
import type { RunDraft, Times } from "./run-draft.ts";

/** Whether a step that others need lets them go: `broken` never will. */
type Met = "met" | "open" | "broken";

/**
 * Steps of the part `steps` whose needs are met become `queued`, those whose needs never will be become `skipped`,
 * which may decide others, until nothing changes.
 */
export function advanceNeeds(draft: RunDraft, now: Times): void {
  for (let changed = true; changed;) {
    changed = false;
    for (const row of draft.rows()) {
      if (row.part !== "steps" || row.waits !== "needs" || row.extra?.foreach) continue;
      if (decide(draft, row, now)) changed = true;
    }
  }
}

function decide(draft: RunDraft, row: StepRow, now: Times): boolean {
  let open = false;
  for (const need of draft.definitionOf(row).needs) {
    const met = need === row.extra?.addedBy?.step ? ownMet(draft.step(need)) : needMet(draft, need);
    if (met === "broken") {
      const broken = firstBroken(draft, need);
      const reason = `step ${broken} is ${draft.step(broken)?.state ?? "not there"}`;
      draft.move(row, "skipped", { endedMs: now.wallMs, reason, extra: { skip: "need" } });
      return true;
    }
    if (met === "open") open = true;
  }
  if (!open) draft.move(row, "queued", { reason: null });
  return !open;
}

/**
 * Met by success, its items' and its added steps' included, or by being left out by its own condition. An added step
 * counts for its adder's whole chain: B1, added by B, comes before C, which was added after B.
 */
function needMet(draft: RunDraft, id: string): Met {
  let met = ownMet(draft.step(id));
  if (met !== "met") return met;
  for (const member of draft.family(id)) {
    const one = needMet(draft, member);
    if (one === "broken") return "broken";
    if (one === "open") met = "open";
  }
  return met;
}

/** For a step that was added: it waits for its adder, and cannot wait for what the adder added. */
function ownMet(row: StepRow | undefined): Met {
  if (row === undefined) return "broken";
  if (row.state === "succeeded" || (row.state === "skipped" && row.extra?.skip === "when")) return "met";
  return hasEnded(row.state) ? "broken" : "open";
}

function firstBroken(draft: RunDraft, id: string): string {
  if (draft.step(id)?.state !== "succeeded") return id;
  const member = draft.family(id).find((each) => needMet(draft, each) === "broken");
  return member === undefined ? id : firstBroken(draft, member);
}
