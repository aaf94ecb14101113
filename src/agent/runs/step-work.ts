import { messageOf } from "../../core/errors.ts";
import type { Logger } from "../../core/logger.ts";
import { jsonValue } from "../../model/expression.ts";
import type { StepError, StepRow } from "../../model/run.ts";
import type { ActionWork, Call } from "./action-work.ts";
import { type Beginning, beginningOf, InputProblem, ofInput } from "./beginning.ts";
import type { ChildRuns } from "./child-runs.ts";
import type { HeldBack } from "./held-back.ts";
import type { HeldRun } from "./held-run.ts";
import { planItems } from "./plan-lease.ts";
import { planSkip, planUnstarted } from "./plan-outcome.ts";
import { planAsk } from "./plan-waits.ts";
import type { RunChanges } from "./run-changes.ts";
import type { RunLocks } from "./run-locks.ts";
import { holds, itemsOf, type StepInputs } from "./step-input.ts";

interface Options {
  changes: RunChanges;
  inputs: StepInputs;
  locks: RunLocks;
  actions: ActionWork;
  children: ChildRuns;
  heldBack: HeldBack;
  log: Logger;
  killing: AbortSignal;
}

/** Begins queued steps: `when`, lock, items of a `foreach`, then by its kind an action, a pipeline or a question. */
export class StepWork {
  readonly #options: Options;

  constructor(options: Options) {
    this.#options = options;
  }

  /** `free`: the step needs its place no more. Settles when nothing of it is left to do; does not reject. */
  async execute(held: HeldRun, stepId: string, free: () => void): Promise<void> {
    const unready = this.#options.inputs.unready(held);
    if (unready === null) return await this.#execute(held, stepId, free);
    try {
      await unready;
    } catch (error) {
      return this.#report(held, held.steps.get(stepId)!, error);
    }
    await this.#execute(held, stepId, free);
  }

  /** The same for a step whose lease became durable with its run. */
  async goOn(beginning: Beginning, call: Call, free: () => void): Promise<void> {
    try {
      await this.#options.actions.goOn(beginning, call, free);
    } catch (error) {
      this.#report(beginning.held, beginning.step, error);
    }
  }

  async #execute(held: HeldRun, stepId: string, free: () => void): Promise<void> {
    const step = held.steps.get(stepId);
    if (step?.state !== "queued" || held.attempts.has(stepId)) return;
    const { heldBack } = this.#options;
    // Before its condition and its lock: what is held back is in nobody's way, and looks at the world when it goes on.
    if (heldBack.refusal(held) !== null) return heldBack.park(held, stepId);
    try {
      await this.#begin(held, step, free);
    } catch (error) {
      if (error instanceof InputProblem) await this.#inputProblem(held, step, error);
      else this.#report(held, step, error);
    }
  }

  async #begin(held: HeldRun, step: StepRow, free: () => void): Promise<void> {
    const { changes, locks, actions, inputs } = this.#options;
    const beginning = beginningOf(held, step, inputs);
    const { definition, compiled, context } = beginning;
    // Items begin at once: their step has seen to its condition, its list and its lock.
    if (step.extra?.foreach === undefined) {
      const { when, items, lock } = compiled;
      if (when !== null && step.attempts === 0 && !ofInput(() => holds(when, context()))) {
        return void (await changes.ofStep(held, step, planSkip));
      }
      if (lock !== null) {
        const name = ofInput(() => lock(context));
        if (!(await locks.forStep(held, step, name, definition.exclusive!.busy))) return;
      }
      if (items !== null) {
        const list = ofInput(() => itemsOf(items, context()).map(jsonValue));
        return void (await changes.ofStep(held, step, (live, row, now) => planItems(live, row, list, now)));
      }
    }
    if (definition.work === "action") return await actions.run(beginning, free);
    if (definition.work === "approval") return await this.#ask(beginning);
    const params = ofInput(() => compiled.input(context));
    return await this.#options.children.begin(held, step, definition.action, params);
  }

  async #ask({ held, step, definition, compiled, context }: Beginning): Promise<void> {
    const text = ofInput(() => compiled.question!(context));
    const { approvers, strict, timeoutMs } = definition.approval!;
    await this.#options.changes.ofStep(held, step, (live, row, now) => {
      // An item has the deadline of its `foreach` as well.
      const deadlineMs = Math.min(now.trustedMs + timeoutMs, row.extra?.deadlineMs ?? Infinity);
      return planAsk(live, row, { text, approvers, strict, deadlineMs }, now);
    });
  }

  async #inputProblem(held: HeldRun, step: StepRow, { message }: InputProblem): Promise<void> {
    const error: StepError = { code: "input", message, retryable: false, started: false };
    try {
      await this.#options.changes.ofStep(held, step, (live, row, now) =>
        planUnstarted(live, row, error, now),
      );
    } catch (failure) {
      this.#report(held, step, failure);
    }
  }

  #report(held: HeldRun, step: StepRow, error: unknown): void {
    if (this.#options.killing.aborted) return;
    const fields = { run: held.run.id, step: step.stepId, error: messageOf(error) };
    this.#options.log.error("a step could not go on", fields);
  }
}
