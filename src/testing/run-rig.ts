import { planAdditions } from "../agent/runs/plan-additions.ts";
import { planItems, planLease } from "../agent/runs/plan-lease.ts";
import { planCancelled, planOutcome } from "../agent/runs/plan-outcome.ts";
import { planStop } from "../agent/runs/plan-stop.ts";
import type { LaterRun } from "../model/schedule-later.ts";
import type { PlannedChange } from "../agent/runs/plan.ts";
import type { Json } from "../model/json.ts";
import type { Addition } from "../model/pipeline.ts";
import { type NewRun, newRun } from "../model/run-build.ts";
import type { AttemptOutcome } from "../model/run-transitions.ts";
import type { RunStop } from "../model/run.ts";
import { pipeline, step } from "./definitions.ts";
import { PlannedRun } from "./planned-run.ts";

export const retry = (attempts: number) => ({
  attempts,
  kind: "fixed" as const,
  initialMs: 100,
  maxMs: 1000,
});
export const bad = (message = "no"): AttemptOutcome => ({
  kind: "error",
  error: { code: "failed", message, retryable: true, started: true },
});
export const lost: AttemptOutcome = {
  kind: "unknown",
  error: { code: "crashed", message: "the worker died", retryable: true, started: true },
};
export const ok = (output: Json = null): AttemptOutcome => ({ kind: "ok", output });

/** A run with the verbs of the engine. */
export class RunRig extends PlannedRun {
  lease(id: string): PlannedChange {
    return this.apply(planLease(this.live, this.step(id), this.now));
  }

  items(id: string, values: Json[]): PlannedChange {
    return this.apply(planItems(this.live, this.step(id), values, this.now));
  }

  end(id: string, outcome = ok()): PlannedChange {
    return this.apply(planOutcome(this.live, this.step(id), outcome, this.now, () => 0.5));
  }

  go(id: string, outcome = ok()): PlannedChange {
    this.lease(id);
    return this.end(id, outcome);
  }

  stop(state: RunStop["state"]): PlannedChange {
    return this.apply(planStop(this.live, { state, by: "local:0", reason: "that is enough" }, this.now));
  }

  cancelled(id: string): PlannedChange {
    return this.apply(planCancelled(this.live, this.step(id), this.now));
  }

  add(id: string, ...additions: Addition[]): PlannedChange {
    return this.apply(planAdditions(this.live, this.step(id), additions, MADE, this.now));
  }
}

/** What additions make of runs, now and later. */
export const MADE = {
  run: spawn,
  later: ({ action, with: params }: Addition, key: string): LaterRun => ({
    ...{ id: `later by ${key}`, key, pipeline: action, params, dueMs: 1000, byWall: false },
    ...{ plugin: "p", run: "run", step: "step", rule: null, cause: null, hops: 1, createdMs: 0 },
  }),
};

export function spawn(addition: Addition, key: string): NewRun {
  return newRun({
    id: `spawned by ${key}`,
    definition: pipeline([step("x")], { name: addition.action }),
    definitionHash: "h",
    rule: null,
    starter: { kind: "spawn", by: "r" },
    event: null,
    params: addition.with,
    parent: { run: "r", step: "a", key },
    createdMs: 0,
  });
}

export const added = (kind: Addition["kind"], action: string): Addition => ({
  kind,
  action,
  pipeline: kind === "spawn",
  with: {},
});

/** Ids of what may start now. */
export const ids = (planned: PlannedChange): string[] => planned.queued.map((row) => row.stepId);

/** What the hub is told, in order. */
export const told = (planned: PlannedChange): string[] =>
  planned.change.records.map(({ body }) => {
    const { step: stepId, state } = JSON.parse(body) as { step?: string; state: string };
    return `${stepId ?? "run"} ${state}`;
  });
