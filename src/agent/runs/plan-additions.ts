import { HoldfastError } from "../../core/errors.ts";
import type { Addition, Effect, StepDefinition } from "../../model/pipeline.ts";
import type { NewRun } from "../../model/run-build.ts";
import type { RunDraft } from "../../model/run-draft.ts";
import { stepRow } from "../../model/run-rows.ts";
import { type StepPart, type StepRow, stepKey } from "../../model/run.ts";
import type { LaterRun } from "../../model/schedule-later.ts";
import { draftOf, type PlannedChange, planOf, type Times } from "./plan.ts";
import type { LiveRun } from "./ports.ts";

export const MAX_ADDITIONS = 100;
export const MAX_STEPS = 1000;

const PART: Record<Exclude<Addition["kind"], "spawn" | "later">, StepPart> = {
  add: "steps",
  finally: "finally",
  onFailure: "on_failure",
};

/**
 * Steps and runs that a running action asks for. Throws `conflict` when its attempt is over, `invalid` where nothing
 * may be added, `exhausted` over a limit. `make` makes a spawned run, and one that is put off, with the given key.
 */
export function planAdditions(
  live: LiveRun,
  step: StepRow,
  additions: Addition[],
  make: {
    run: (addition: Addition, key: string) => NewRun;
    later: (addition: Addition, key: string) => LaterRun;
  },
  now: Times,
  effectOf: (action: string) => Effect = () => "at-most-once",
): PlannedChange {
  const draft = draftOf(live);
  const adder = adderOf(draft, step);
  const before = adder.extra?.added ?? 0;
  checkAdditions(draft, adder, additions, before);
  const newRuns: NewRun[] = [];
  const newLaters: LaterRun[] = [];
  for (const [index, addition] of additions.entries()) {
    const id = `${adder.stepId}+${before + index + 1}`;
    if (addition.kind === "spawn") newRuns.push(make.run(addition, stepKey(adder.runId, id)));
    else if (addition.kind === "later") newLaters.push(make.later(addition, stepKey(adder.runId, id)));
    else addRow(draft, adder, id, addition.kind, addition, effectOf);
  }
  draft.note(adder, { added: before + additions.length });
  return planOf(draft, [adder], now, { newRuns, newLaters });
}

function adderOf(draft: RunDraft, step: StepRow): StepRow {
  const row = draft.step(step.stepId);
  const name = `step ${step.stepId} of run ${step.runId}`;
  if (row?.state !== "running" || row.fence !== step.fence) {
    throw new HoldfastError("conflict", `${name} can add nothing: attempt ${step.attempts} is over`);
  }
  if (draft.run.stop !== null) {
    throw new HoldfastError(
      "conflict",
      `${name} can add nothing: the run is being ended: ${draft.run.stop.reason}`,
    );
  }
  return row;
}

function checkAdditions(draft: RunDraft, adder: StepRow, additions: Addition[], before: number): void {
  const name = `step ${adder.stepId} of run ${adder.runId}`;
  const rows = additions.filter(({ kind }) => kind !== "spawn" && kind !== "later").length;
  if (rows > 0 && adder.part !== "steps") {
    throw new HoldfastError(
      "invalid",
      `${name} is part of ${adder.part}: only steps before it may add steps`,
    );
  }
  if (before + additions.length > MAX_ADDITIONS) {
    throw new HoldfastError("exhausted", `${name} asks for more than ${MAX_ADDITIONS} steps and runs`);
  }
  let steps = rows;
  for (const row of draft.rows()) if (row.extra?.foreach === undefined) steps++;
  if (steps > MAX_STEPS) {
    throw new HoldfastError("exhausted", `${name} can add nothing: a run has at most ${MAX_STEPS} steps`);
  }
}

function addRow(
  draft: RunDraft,
  adder: StepRow,
  id: string,
  kind: keyof typeof PART,
  addition: Addition,
  effectOf: (action: string) => Effect,
): void {
  const part = PART[kind];
  const needs = kind === "add" ? [lastAdded(draft, adder) ?? adder.stepId] : [];
  draft.create({
    ...stepRow(adder.runId, part, id, positionOf(draft, part, adder), "needs"),
    extra: {
      addedBy: { step: adder.stepId, attempt: adder.attempts },
      definition: addedDefinition(id, addition, needs, effectOf),
    },
  });
}

/** The step that this adder added to `steps` last: the next one comes after it. */
function lastAdded(draft: RunDraft, adder: StepRow): string | undefined {
  let last: string | undefined;
  for (const id of draft.family(adder.stepId)) {
    if (last === undefined || numberOf(id) > numberOf(last)) last = id;
  }
  return last;
}

function numberOf(id: string): number {
  return Number(id.slice(id.lastIndexOf("+") + 1));
}

/** In `steps` beside its adder; in the parts at the end after everything that is declared or was added before. */
function positionOf(draft: RunDraft, part: StepPart, adder: StepRow): number {
  if (part === "steps") return adder.position;
  const { finally: last, onFailure } = draft.definition;
  let next = part === "finally" ? last.length : onFailure.length;
  for (const row of draft.rows()) if (row.part === part) next = Math.max(next, row.position + 1);
  return next;
}

function addedDefinition(
  id: string,
  { action, pipeline, with: input, templates = false }: Addition,
  needs: string[],
  effectOf: (action: string) => Effect,
): StepDefinition {
  return {
    id,
    work: pipeline ? "pipeline" : "action",
    action,
    needs,
    when: null,
    foreach: null,
    with: input,
    ...(templates ? {} : { literal: true }),
    timeoutMs: 30_000,
    deadlineMs: null,
    retry: { attempts: 1, kind: "fixed", initialMs: 1000, maxMs: 1000 },
    effect: pipeline ? "idempotent" : effectOf(action),
    undo: null,
    exclusive: null,
    breaker: null,
    approval: null,
  };
}
