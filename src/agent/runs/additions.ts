import type { Clock } from "../../core/clock.ts";
import { HoldfastError } from "../../core/errors.ts";
import type { Ids } from "../../core/ids.ts";
import type { Addition, Effect } from "../../model/pipeline.ts";
import type { NewRun } from "../../model/run-build.ts";
import type { RunRow, StepRow } from "../../model/run.ts";
import { definitionOf } from "../../model/run-step-definition.ts";
import { type LaterRun, MAX_LATER_CHARS } from "../../model/schedule-later.ts";
import { type HeldRun, isRuleStarted } from "./held-run.ts";
import type { LaterPort } from "./ports.ts";
import { planAdditions } from "./plan-additions.ts";
import type { RunBuilder } from "./run-builder.ts";
import type { RunChanges } from "./run-changes.ts";

interface Options {
  changes: RunChanges;
  builder: RunBuilder;
  store: { childRuns(runId: string): Promise<RunRow[]> };
  /** What the action declares; undefined when there is no such action. */
  effectOf: (action: string) => Effect | undefined;
  /** Absent where no run can be put off. */
  later: LaterPort | undefined;
  clock: Clock;
  ids: Ids;
}

/** Steps and runs that actions ask for while they run (`call.add`). */
export class Additions {
  readonly #options: Options;

  constructor(options: Options) {
    this.#options = options;
  }

  /** What the attempt of this lease may call. Resolves when the additions are durable; throws `invalid`, `conflict`. */
  of(held: HeldRun, leased: StepRow): (additions: Addition[]) => Promise<void> {
    return (additions) => this.#add(held, leased, additions);
  }

  async #add(held: HeldRun, { stepId, fence, attempts }: StepRow, additions: Addition[]): Promise<void> {
    for (const addition of additions) this.#check(addition);
    this.#checkLater(additions);
    if (additions.length === 0) return;
    if (held.recovered && attempts > 1 && additions.some(({ kind }) => kind === "spawn")) {
      await this.#lookUpSpawned(held);
    }
    const make = {
      run: (addition: Addition, key: string) => this.#spawn(held, stepId, addition, key),
      later: (addition: Addition, key: string) => this.#later(held, stepId, addition, key),
    };
    const effectOf = (action: string) => this.#options.effectOf(action) ?? "at-most-once";
    const over = () =>
      new HoldfastError(
        "conflict",
        `step ${stepId} of run ${held.run.id} can add nothing: its attempt is over`,
      );
    const planned = await this.#options.changes.change(held, (now) => {
      const row = held.steps.get(stepId);
      if (row?.state !== "running" || row.fence !== fence) throw over();
      return planAdditions(held, row, additions, make, now, effectOf);
    });
    if (planned === null) throw over();
    if (planned.change.newLaters) this.#options.later?.added(planned.change.newLaters);
  }

  #check({ kind, action, pipeline }: Addition): void {
    if (pipeline || kind === "spawn" || kind === "later") {
      if (this.#options.builder.has(action)) return;
      throw new HoldfastError("invalid", `there is no pipeline ${action} here to add`);
    }
    if (this.#options.effectOf(action) !== undefined) return;
    throw new HoldfastError("invalid", `there is no action ${action} here to add`);
  }

  #checkLater(additions: Addition[]): void {
    const later = additions.filter(({ kind }) => kind === "later");
    const large = later.find((addition) => JSON.stringify(addition.with).length > MAX_LATER_CHARS);
    if (large)
      throw new HoldfastError(
        "too_large",
        `the parameters of ${large.action}, to be put off, have more than ${MAX_LATER_CHARS} characters`,
      );
    if (later.length === 0 || this.#options.later?.hasRoom(later.length)) return;
    throw new HoldfastError(
      "exhausted",
      "as many runs are put off as may be: see holdfast schedules list, and cancel some",
    );
  }

  /** Its parameters are checked now, so that who asks learns of it, and again when it is due. */
  #later(held: HeldRun, stepId: string, { action, with: params, due }: Addition, key: string): LaterRun {
    const { builder, clock, ids } = this.#options;
    const starter = { kind: "spawn", by: held.run.id } as const;
    builder.build({ pipeline: action, starter, event: held.event, params });
    const byWall = due !== undefined && "atMs" in due;
    return {
      id: ids.next(),
      key,
      pipeline: action,
      params,
      dueMs: byWall ? due.atMs : clock.trusted() + (due?.inMs ?? 0),
      byWall,
      plugin: definitionOf(held.definition, held.steps.get(stepId)!).action,
      run: held.run.id,
      step: stepId,
      rule: isRuleStarted(held) ? held.run.rule : null,
      cause: held.event?.id ?? null,
      hops: (held.event?.hops ?? 0) + 1,
      createdMs: clock.wall(),
    };
  }

  #spawn(held: HeldRun, stepId: string, { action, with: params }: Addition, key: string): NewRun {
    return this.#options.builder.build({
      pipeline: action,
      starter: { kind: "spawn", by: held.run.id },
      event: held.event,
      params,
      rule: isRuleStarted(held) ? held.run.rule : null,
      parent: { run: held.run.id, step: stepId, key },
    });
  }

  /** After a restart: an attempt that runs again may ask for what the one before has begun. */
  async #lookUpSpawned(held: HeldRun): Promise<void> {
    const runs = await this.#options.store.childRuns(held.run.id);
    held.spawned ??= new Set();
    held.recovered = false;
    for (const { parent } of runs) if (parent) held.spawned.add(parent.key);
  }
}
