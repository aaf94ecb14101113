import { draftOf, type PlannedChange, type Times } from "../agent/runs/plan.ts";
import type { LiveRun, RunChange } from "../agent/runs/ports.ts";
import type { PipelineDefinition } from "../model/pipeline.ts";
import { newRun } from "../model/run-build.ts";
import { currentPart } from "../model/run-parts.ts";
import type { Json } from "../model/json.ts";
import { mayMoveRun, mayMoveStep, stepPlace } from "../model/run-transitions.ts";
import type { RunState, StepRow } from "../model/run.ts";

/** A run of tests that takes plans one after the other as a store would, and checks each against the tables. */
export class PlannedRun {
  readonly live: LiveRun;
  readonly changes: RunChange[] = [];
  now: Times = { wallMs: 1000, trustedMs: 5000 };

  constructor(definition: PipelineDefinition, params: Json = {}) {
    const made = newRun({
      id: "r",
      definition,
      definitionHash: "hash",
      rule: null,
      starter: { kind: "manual", by: "local:0" },
      event: null,
      params,
      createdMs: 0,
    });
    const steps = new Map(made.steps.map((row) => [row.stepId, row]));
    this.live = { run: made.run, steps, definition, event: null };
  }

  step(id: string): StepRow {
    const row = this.live.steps.get(id);
    if (!row) throw new Error(`there is no step ${id}, only ${[...this.live.steps.keys()].join(", ")}`);
    return row;
  }

  /** States by step. */
  states(): Record<string, RunState> {
    return Object.fromEntries([...this.live.steps.values()].map(({ stepId, state }) => [stepId, state]));
  }

  part(): string {
    return currentPart(draftOf(this.live));
  }

  apply(planned: PlannedChange): PlannedChange {
    const { change } = planned;
    for (const { stepId, fence, state } of change.guards) {
      const row = this.step(stepId);
      if (row.fence !== fence || row.state !== state) throw new Error(`a guard on ${stepId} does not hold`);
    }
    for (const patch of change.steps) {
      const before = this.step(patch.stepId);
      const after = { ...before, ...patch } as StepRow;
      const [from, to] = [stepPlace(before), stepPlace(after)];
      if (from !== to && !mayMoveStep(from, to)) throw new Error(`${patch.stepId}: ${from} → ${to}`);
      this.live.steps.set(after.stepId, after);
    }
    for (const id of change.removedSteps ?? []) this.live.steps.delete(id);
    for (const row of change.newSteps ?? []) this.live.steps.set(row.stepId, row);
    const run = { ...this.live.run, ...change.run };
    if (run.state !== this.live.run.state && !mayMoveRun(this.live.run.state, run.state)) {
      throw new Error(`run: ${this.live.run.state} → ${run.state}`);
    }
    this.live.run = run;
    this.#compare(planned);
    this.changes.push(change);
    return planned;
  }

  /** What the change says, column by column, is what the plan says of whole rows. */
  #compare(planned: PlannedChange): void {
    for (const row of planned.steps) {
      if (!Bun.deepEquals(this.live.steps.get(row.stepId), row)) {
        throw new Error(`the change of ${row.stepId} is not the row: ${JSON.stringify(row)}`);
      }
    }
    if (!Bun.deepEquals(this.live.run, planned.run)) throw new Error("the change of the run is not the run");
  }
}
