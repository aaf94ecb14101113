import type { PipelineDefinition, StepDefinition } from "./pipeline.ts";
import { type RunRow, type RunState, type StepRow, type StepWait } from "./run.ts";
import { definitionOf } from "./run-step-definition.ts";
import { mayMoveRun, mayMoveStep, stepPlace } from "./run-transitions.ts";

/** One moment on the clocks that plans need. */
export interface Times {
  /** For display. */
  wallMs: number;
  /** For deadlines, waits and windows. */
  trustedMs: number;
}

/** Fields of a step that go with a change of place; `extra` is merged over the old one. */
export type StepFields = Partial<
  Pick<
    StepRow,
    | "attempts"
    | "unknowns"
    | "fence"
    | "notBeforeMs"
    | "startedMs"
    | "endedMs"
    | "output"
    | "error"
    | "reason"
    | "extra"
  >
>;

/**
 * A run while one change of it is worked out: the rows it has, with those that change laid over them. Every change of
 * place goes through the tables here.
 */
export class RunDraft {
  run: RunRow;
  readonly definition: PipelineDefinition;
  readonly before: RunRow;
  readonly changed = new Map<string, StepRow>();
  readonly created = new Map<string, StepRow>();
  readonly removed = new Set<string>();
  readonly #steps: Map<string, StepRow>;
  #rows: readonly StepRow[] | null = null;
  #family: Map<string, string[]> | null = null;

  constructor(of: { run: RunRow; steps: Map<string, StepRow>; definition: PipelineDefinition }) {
    this.before = of.run;
    this.run = of.run;
    this.definition = of.definition;
    this.#steps = of.steps;
  }

  step(id: string): StepRow | undefined {
    return this.changed.get(id) ?? this.#steps.get(id) ?? this.created.get(id);
  }

  stepBefore(id: string): StepRow | undefined {
    return this.#steps.get(id);
  }

  /** The rows as they are now: a snapshot, made anew after a change. */
  rows(): readonly StepRow[] {
    if (this.#rows !== null) return this.#rows;
    const rows: StepRow[] = [];
    for (const [id, row] of this.#steps) {
      if (this.removed.size === 0 || !this.removed.has(id)) rows.push(this.changed.get(id) ?? row);
    }
    for (const row of this.created.values()) rows.push(row);
    this.#rows = rows;
    return rows;
  }

  move(row: StepRow, state: Exclude<RunState, "waiting">, fields: StepFields = {}): StepRow {
    return this.#place(row, state, null, fields);
  }

  wait(row: StepRow, waits: StepWait, fields: StepFields = {}): StepRow {
    return this.#place(row, "waiting", waits, fields);
  }

  /** Changes what a row says, not where it stands. */
  note(row: StepRow, extra: NonNullable<StepRow["extra"]>): StepRow {
    const noted = copyOf(row);
    noted.extra = { ...row.extra, ...extra };
    return this.#keep(noted);
  }

  create(row: StepRow): void {
    this.created.set(row.stepId, row);
    this.#rows = null;
    this.#family = null;
  }

  remove(id: string): void {
    this.removed.add(id);
    this.#rows = null;
    this.#family = null;
  }

  moveRun(
    state: RunState,
    fields: Partial<Pick<RunRow, "reason" | "startedMs" | "endedMs" | "deadlineMs" | "output">> = {},
  ): void {
    const { id, state: from } = this.run;
    if (!mayMoveRun(from, state)) throw new Error(`run ${id}: ${from} → ${state} is no transition`);
    this.run = { ...this.run, state, ...fields };
  }

  /** The first thing that happens to a step begins the run: its clock runs from here. */
  begin(now: Times): void {
    if (this.run.startedMs !== null) return;
    const { deadlineMs } = this.definition;
    this.moveRun("running", {
      startedMs: now.wallMs,
      reason: null,
      deadlineMs: deadlineMs === null ? null : now.trustedMs + deadlineMs,
    });
  }

  /** Items and added steps of `steps` that belong to a step: what needs the step needs them as well. */
  family(id: string): readonly string[] {
    this.#family ??= this.#families();
    return this.#family.get(id) ?? [];
  }

  definitionOf(row: StepRow): StepDefinition {
    return definitionOf(this.definition, row);
  }

  #place(row: StepRow, state: RunState, waits: StepWait | null, fields: StepFields): StepRow {
    const to = stepPlace({ state, waits });
    const from = stepPlace(row);
    if (!mayMoveStep(from, to)) {
      throw new Error(`step ${row.runId}/${row.stepId}: ${from} → ${to} is no transition`);
    }
    const moved = copyOf(row);
    moved.state = state;
    moved.waits = waits;
    const extra = fields.extra ? { ...row.extra, ...fields.extra } : row.extra;
    Object.assign(moved, fields);
    moved.extra = extra;
    return this.#keep(moved);
  }

  #keep(row: StepRow): StepRow {
    const into = this.created.has(row.stepId) ? this.created : this.changed;
    into.set(row.stepId, row);
    this.#rows = null;
    return row;
  }

  #families(): Map<string, string[]> {
    const families = new Map<string, string[]>();
    for (const { stepId, part, extra } of this.rows()) {
      const of = part === "steps" ? (extra?.addedBy?.step ?? extra?.foreach?.step) : undefined;
      if (of === undefined) continue;
      const members = families.get(of);
      if (members) members.push(stepId);
      else families.set(of, [stepId]);
    }
    return families;
  }
}

/** Field by field: every change makes one, and a spread costs several times as much. */
function copyOf(row: StepRow): StepRow {
  return {
    runId: row.runId,
    stepId: row.stepId,
    part: row.part,
    position: row.position,
    state: row.state,
    waits: row.waits,
    attempts: row.attempts,
    unknowns: row.unknowns,
    fence: row.fence,
    notBeforeMs: row.notBeforeMs,
    startedMs: row.startedMs,
    endedMs: row.endedMs,
    output: row.output,
    error: row.error,
    reason: row.reason,
    extra: row.extra,
  };
}
