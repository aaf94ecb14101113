import type { RunState, Starter } from "../../model/run.ts";
import { isAsking } from "./approvals.ts";
import type { HeldRun } from "./held-run.ts";

/** A step that waits for a person. */
export interface Question {
  run: string;
  step: string;
  reason: string | null;
}

export interface RunSummary {
  id: string;
  pipeline: string;
  state: RunState;
  /** Steps under way or waiting for somebody. */
  steps: string[];
  starter: Starter;
  ageMs: number;
  priority: number;
  /** It takes longer than `warn_after`. */
  overdue: boolean;
  /** Why steps of it, or all of it, are held back. */
  heldBack: string | null;
}

export function questions(runs: Iterable<HeldRun>): Question[] {
  const asking: Question[] = [];
  for (const { run, steps } of runs) {
    for (const step of steps.values()) {
      if (isAsking(step)) asking.push({ run: run.id, step: step.stepId, reason: step.reason });
    }
  }
  return asking;
}

export function summaryOf(
  { run, steps, overdue }: HeldRun,
  wallMs: number,
  heldBack: string | null,
): RunSummary {
  const current = [...steps.values()].filter(
    (step) => step.state === "running" || (step.state === "waiting" && step.waits !== "needs"),
  );
  return {
    id: run.id,
    pipeline: run.pipeline,
    state: run.state,
    steps: current.map((step) => step.stepId),
    starter: run.starter,
    ageMs: Math.max(0, wallMs - run.createdMs),
    priority: run.priority,
    overdue,
    heldBack,
  };
}

export function countStates(runs: Iterable<HeldRun>): Record<string, number> {
  const states: Record<string, number> = {};
  for (const { run } of runs) states[run.state] = (states[run.state] ?? 0) + 1;
  return states;
}
