import type { RetryPolicy } from "../../model/pipeline.ts";
import { definitionOf } from "../../model/run-step-definition.ts";
import { hasEnded, type OpenRun, type StepRow } from "../../model/run.ts";

/** What trusted time may lack after a restart, until the hub has corrected it. */
const SLACK_MS = 24 * 60 * 60 * 1000;

/**
 * An open run whose deadlines and waits are none that its pipeline allows from now on: the row changed on the disk, or
 * trusted time was far ahead and has been corrected. It waits as if it had begun to now, and not for a thousand years.
 */
export function withBelievableWaits(open: OpenRun, trustedMs: number): OpenRun {
  const { run, definition } = open;
  const deadlineMs = believable(run.deadlineMs, definition.deadlineMs, trustedMs);
  return {
    ...open,
    run: deadlineMs === run.deadlineMs ? run : { ...run, deadlineMs },
    steps: open.steps.map((step) => (hasEnded(step.state) ? step : stepOf(open, step, trustedMs))),
  };
}

function stepOf({ definition }: OpenRun, step: StepRow, trustedMs: number): StepRow {
  const { retry, approval, deadlineMs: longest } = definitionOf(definition, step);
  const allowed = step.waits === "approval" && approval !== null ? approval.timeoutMs : longest;
  const before = step.extra?.deadlineMs;
  const deadlineMs = before === undefined ? undefined : believable(before, allowed, trustedMs)!;
  const notBeforeMs = believable(step.notBeforeMs, longestDelay(retry), trustedMs)!;
  if (deadlineMs === before && notBeforeMs === step.notBeforeMs) return step;
  const extra = deadlineMs === undefined ? step.extra : { ...step.extra, deadlineMs };
  return { ...step, notBeforeMs, extra };
}

/** `allowed`: how long it may be from now; null is no bound. */
function believable(atMs: number | null, allowed: number | null, trustedMs: number): number | null {
  if (atMs === null || allowed === null || atMs <= trustedMs + allowed + SLACK_MS) return atMs;
  return trustedMs + allowed;
}

function longestDelay({ initialMs, maxMs }: RetryPolicy): number {
  return Math.max(initialMs, maxMs);
}
