import { hasEnded, type RunState } from "../model/run.ts";
import type { AgentClient } from "./client/agent-client.ts";
import { type ShownRun, type ShownStep, shownRun } from "./runs-detail.ts";

export interface FollowHooks {
  /** A step as it has become; also when it only began to wait. */
  step(step: ShownStep, run: ShownRun): Promise<void>;
  note(text: string): void;
}

/**
 * Tells each change of the steps of a run until it has ended; resolves with the run as it ended, or as it was last seen
 * when the signal aborts. A restart of the agent interrupts nothing.
 */
export async function followRun(
  client: AgentClient,
  id: string,
  signal: AbortSignal,
  hooks: FollowHooks,
): Promise<ShownRun | null> {
  const told = new Map<string, string>();
  const steps = new Map<string, ShownStep>();
  let last: ShownRun | null = null;
  const stream = client.followRun(id, {
    signal,
    onState(state) {
      if (state.kind === "lost") hooks.note(`the agent went away (${state.reason}); trying again`);
      if (state.kind === "connected" && state.again) hooks.note("connected again");
    },
  });
  for await (const item of stream) {
    const changed = shownRun(item);
    for (const step of changed.steps) steps.set(step.step, step);
    last = { ...changed, steps: [...steps.values()] };
    for (const step of changed.steps.toSorted(byTime)) {
      const now = `${step.state} ${step.waits} ${step.attempts} ${step.retryAt !== null}`;
      if (told.get(step.step) === now) continue;
      told.set(step.step, now);
      await hooks.step(step, last);
    }
    if (hasEnded(last.state as RunState)) break;
  }
  return last;
}

/** What ended comes in the order of its end, then what is under way in the order of its begin. */
export function byTime(a: ShownStep, b: ShownStep): number {
  const place = ({ endedAt, startedAt }: ShownStep) =>
    endedAt ?? (startedAt === null ? "Z" : `Y${startedAt}`);
  return place(a) < place(b) ? -1 : place(a) > place(b) ? 1 : 0;
}

/** The step that ended last: of those that ran, not of those that were left out. */
export function finalStep(run: ShownRun): ShownStep | undefined {
  return run.steps
    .filter((step) => step.endedAt !== null && step.state !== "skipped" && !step.origin?.foreach)
    .toSorted((a, b) => Date.parse(a.endedAt!) - Date.parse(b.endedAt!))
    .at(-1);
}
