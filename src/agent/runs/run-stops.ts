import { HoldfastError } from "../../core/errors.ts";
import { hasEnded, type RunStop, type StepRow } from "../../model/run.ts";
import { itemId } from "../../model/run-foreach.ts";
import type { HeldRun } from "./held-run.ts";
import { planStop } from "./plan-stop.ts";
import { planTimeout } from "./plan-waits.ts";
import type { RunChanges } from "./run-changes.ts";
import type { RunKeeper } from "./run-keeper.ts";

interface Options {
  keeper: RunKeeper;
  changes: RunChanges;
}

/** Ends runs and steps early: by a person's word, a deadline, a lock. The word is durable before anything is stopped. */
export class RunStops {
  readonly #options: Options;

  constructor(options: Options) {
    this.#options = options;
  }

  async cancel(runId: string, by: string, reason: string): Promise<void> {
    const held = this.#options.keeper.runs.get(runId);
    if (!held) {
      throw new HoldfastError(
        "not_found",
        `there is no open run ${runId}: only runs that have not ended can be cancelled`,
      );
    }
    await this.stop(held, { state: "cancelled", by, reason });
  }

  /** Does nothing to a run that is being stopped already, unless now a person says so. */
  async stop(held: HeldRun, stop: RunStop): Promise<void> {
    await this.#options.changes.change(held, (now) => {
      const planned = planStop(held, stop, now);
      return planned.run === held.run ? null : planned;
    });
  }

  /** The run's stop is durable: its attempts and child runs are stopped. They end when nothing of them runs any more. */
  abort(held: HeldRun, steps: StepRow[]): void {
    for (const step of steps) {
      this.#abortAttempt(held, step.stepId, "stop");
      if (step.extra?.child !== undefined) this.#stopChild(held, step.extra.child, held.run.stop);
    }
  }

  runExpired(held: HeldRun): void {
    const reason = `the run took longer than its deadline of ${held.definition.deadlineMs} ms`;
    const stop: RunStop = { state: "timed_out", by: "deadline", reason };
    this.#options.keeper.track("a run whose deadline has passed", held, this.stop(held, stop));
  }

  stepExpired(held: HeldRun, stepId: string): void {
    const { keeper, changes } = this.#options;
    const work = changes.change(held, (now) => {
      const step = held.steps.get(stepId);
      // Items that wait for their turn end with their step.
      if (!step || hasEnded(step.state) || step.waits === "needs") return null;
      if (this.#abortAttempt(held, stepId, "deadline")) return null;
      if (step.state === "running" && step.extra?.child !== undefined) {
        this.#stopChild(held, step.extra.child, null);
        return null;
      }
      // What was running when the agent stopped is unknown: that is told on its own.
      const isAttempt = step.state === "running" && !held.steps.has(itemId(stepId, 0));
      return isAttempt ? null : planTimeout(held, step, now);
    });
    keeper.track("a step whose deadline has passed", held, work);
  }

  #abortAttempt(held: HeldRun, stepId: string, cause: "stop" | "deadline"): boolean {
    const attempt = held.attempts.get(stepId);
    if (!attempt) return false;
    attempt.cause ??= cause;
    attempt.controller.abort();
    return true;
  }

  /** `by` is how the parent knows that it was itself who stopped the child. */
  #stopChild(held: HeldRun, childId: string, stop: RunStop | null): void {
    const child = this.#options.keeper.runs.get(childId);
    if (!child) return;
    const state = stop === null || stop.state === "timed_out" ? "timed_out" : "cancelled";
    const reason = `run ${held.run.id}, which it is a part of, ${stop === null ? "gave it no more time" : `was stopped: ${stop.reason}`}`;
    const work = this.stop(child, { state, by: held.run.id, reason });
    this.#options.keeper.track("the stop of a child run", child, work);
  }
}
