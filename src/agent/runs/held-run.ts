import type { OpenRun, RunRow } from "../../model/run.ts";
import type { LiveRun } from "./ports.ts";

/** The parts of a run's context that stay, and the steps that have ended so far. */
export interface RunValues {
  event: unknown;
  params: unknown;
  run: unknown;
  steps: Record<string, unknown>;
}

/** An attempt under way. */
export interface Attempt {
  readonly controller: AbortController;
  /** Why it was aborted: the run is to end, or the step's deadline has passed. */
  cause: "stop" | "deadline" | null;
}

/** A run under way, as the engine holds it. Its changes go one after the other. */
export interface HeldRun extends LiveRun {
  /** Attempts under way, by step. */
  readonly attempts: Map<string, Attempt>;
  /** What cancels a deadline or a warning, by step; the run's own are under "". */
  timers: Map<string, () => void> | null;
  /** It has its place and its lock: its steps may go. */
  open: boolean;
  /** A change is being made. */
  changing: boolean;
  /** Those who wait to make the next change. */
  turns: (() => void)[];
  /** What expressions see of the run, as far as one has asked. */
  values: RunValues | null;
  /** It takes longer than `warn_after`. */
  overdue: boolean;
  /** Parent keys of the runs that it began; null is none yet. */
  spawned: Set<string> | null;
  /** Taken up after a restart: `spawned` may lack what it began before. */
  recovered: boolean;
  /** No person started it, nor what it belongs to: the brake holds for it. */
  unattended: boolean;
}

export function holdRun({ run, steps, definition, event }: OpenRun): HeldRun {
  return {
    run,
    steps: new Map(steps.map((step) => [step.stepId, step])),
    definition,
    event,
    attempts: new Map(),
    timers: null,
    open: false,
    changing: false,
    turns: [],
    values: null,
    overdue: false,
    spawned: null,
    recovered: false,
    unattended: isUnattended(run),
  };
}

/** As far as the run itself says: one that another run began is like that one, unless a rule is behind both. */
export function isUnattended({ starter, rule }: Pick<RunRow, "starter" | "rule">): boolean {
  switch (starter.kind) {
    case "rule":
    case "schedule":
      return true;
    case "manual":
    case "retry":
    case "dispatch":
      return false;
    case "parent":
    case "spawn":
      return rule !== null;
  }
}

/** A rule began it, or the run of a rule did: then the caps on side effects bind it. */
export function isRuleStarted({ run }: Pick<LiveRun, "run">): boolean {
  return run.rule !== null && run.starter.kind !== "retry";
}
