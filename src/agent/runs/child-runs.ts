import { asHoldfastError, HoldfastError, messageOf } from "../../core/errors.ts";
import type { JsonObject } from "../../model/json.ts";
import type { NewRun } from "../../model/run-build.ts";
import { type RunRow, type StepRow, stepKey } from "../../model/run.ts";
import { InputProblem } from "./beginning.ts";
import { type HeldRun, isRuleStarted } from "./held-run.ts";
import { planLease } from "./plan-lease.ts";
import { planCancelled, planOutcome, planUnstarted } from "./plan-outcome.ts";
import type { RunBuilder } from "./run-builder.ts";
import type { RunChanges } from "./run-changes.ts";

interface Options {
  /** An open run. */
  find(runId: string): HeldRun | undefined;
  changes: RunChanges;
  builder: RunBuilder;
  random: () => number;
}

/** Steps that are runs of their own: lease and child begin in one transaction, and its end is the step's. */
export class ChildRuns {
  readonly #options: Options;

  constructor(options: Options) {
    this.#options = options;
  }

  async begin(held: HeldRun, step: StepRow, pipeline: string, params: JsonObject): Promise<void> {
    const { changes } = this.#options;
    let child: NewRun;
    try {
      child = this.#make(held, step, pipeline, params);
    } catch (failure) {
      const { code, message } = asHoldfastError(failure, `step ${step.stepId}`);
      if (code === "failed") throw new InputProblem(messageOf(failure));
      const error = { code, message, retryable: false, started: false };
      return void (await changes.ofStep(held, step, (live, row, now) =>
        planUnstarted(live, row, error, now),
      ));
    }
    await changes.ofStep(held, step, (live, row, now) => planLease(live, row, now, { child }));
  }

  #make(held: HeldRun, step: StepRow, pipeline: string, params: JsonObject): NewRun {
    const { id } = held.run;
    const { stepId } = step;
    this.#refuseRecursion(held, stepId, pipeline);
    return this.#options.builder.build({
      pipeline,
      starter: { kind: "parent", by: id },
      event: held.event,
      params,
      rule: isRuleStarted(held) ? held.run.rule : null,
      // By its lease: an earlier attempt of what added this step may have spawned a run under the step's own key.
      parent: { run: id, step: stepId, key: `${stepKey(id, stepId)}#${step.fence + 1}` },
    });
  }

  /** Steps that an action adds can name the pipeline that they are in: it would wait for a place that it holds itself. */
  #refuseRecursion(held: HeldRun, stepId: string, pipeline: string): void {
    let above: HeldRun | undefined = held;
    const seen = new Set<HeldRun>();
    while (above !== undefined && above.run.pipeline !== pipeline) {
      // Rows that were changed on the disk may lead back to themselves.
      if (seen.has(above)) return;
      seen.add(above);
      const { parent, starter }: HeldRun["run"] = above.run;
      above = parent !== null && starter.kind === "parent" ? this.#options.find(parent.run) : undefined;
    }
    if (above === undefined) return;
    throw new HoldfastError(
      "invalid",
      `step ${stepId} would run pipeline ${pipeline} inside itself (run ${above.run.id}): start it with spawn`,
    );
  }

  /** The child has ended: its output or its end is the step's. Does nothing when the step has that already. */
  async ended(parent: HeldRun, stepId: string, child: RunRow): Promise<void> {
    await this.#options.changes.change(parent, (now) => {
      const step = parent.steps.get(stepId);
      if (step?.state !== "running" || step.extra?.child !== child.id) return null;
      if (child.state === "succeeded") {
        return planOutcome(parent, step, { kind: "ok", output: child.output }, now, this.#options.random);
      }
      // It was the parent who stopped it, for its own stop or the step's deadline.
      if (child.stop?.by === parent.run.id) return planCancelled(parent, step, now);
      const why = child.reason === null ? "" : `: ${child.reason}`;
      const message = `run ${child.id} of pipeline ${child.pipeline} is ${child.state}${why}`;
      const error = { code: "child_failed", message, retryable: false, started: true };
      return planOutcome(parent, step, { kind: "error", error }, now, this.#options.random);
    });
  }
}
