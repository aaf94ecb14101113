import type { NewRun } from "../../model/run-build.ts";
import type { StepRow } from "../../model/run.ts";
import { type Call, callOf } from "./action-work.ts";
import { type Beginning, beginningOf } from "./beginning.ts";
import type { Breakers } from "./breakers.ts";
import type { HeldBack } from "./held-back.ts";
import { type HeldRun, holdRun, isRuleStarted } from "./held-run.ts";
import { planLease } from "./plan-lease.ts";
import type { PlannedChange } from "./plan.ts";
import type { RunBuilder } from "./run-builder.ts";
import type { RunChanges } from "./run-changes.ts";
import type { RunKeeper } from "./run-keeper.ts";
import { minuteOf, type SideEffects } from "./side-effects.ts";
import type { StepInputs } from "./step-input.ts";
import type { StepPlace } from "./step-places.ts";
import type { StepWork } from "./step-work.ts";

interface Options {
  keeper: RunKeeper;
  builder: RunBuilder;
  inputs: StepInputs;
  work: StepWork;
  changes: RunChanges;
  breakers: Breakers;
  sideEffects: SideEffects;
  heldBack: HeldBack;
}

/** A run on its way to the store together with the lease of its first step. */
interface Leased {
  beginning: Beginning;
  call: Call;
  planned: PlannedChange;
  place: StepPlace;
  /** When its attempt was counted as a side effect; null when it is none. */
  countedMs: number | null;
}

/** A run on its way to the store without a lease: it comes to its places before those that were made after it. */
interface Ahead {
  pipeline: string;
  steps: number;
}

/**
 * Leases that become durable in the transaction that makes the run: one commit less before its first action is told. Only
 * where nothing is left to ask and a place is free for it and for all who came before; else the run goes the long way.
 */
export class FirstLeases {
  readonly #options: Options;
  readonly #leased = new Map<string, Leased>();
  readonly #ahead = new Map<string, Ahead>();
  readonly #runsAhead = new Map<string, number>();
  #stepsAhead = 0;

  constructor(options: Options) {
    this.#options = options;
  }

  /** To be followed by `admit` or `drop`. */
  lease(made: NewRun): NewRun {
    const leased = this.#tryLease(made);
    if (leased === null) {
      this.#goAhead(made);
      return made;
    }
    this.#leased.set(made.run.id, leased);
    return withLease(made, leased.planned);
  }

  /** The run is durable. False when it has no lease and is to wait for its places as any other. */
  admit({ run: { id } }: NewRun): boolean {
    this.#arrive(id);
    const leased = this.#leased.get(id);
    if (leased === undefined) return false;
    this.#leased.delete(id);
    const { keeper, work } = this.#options;
    const { beginning, call, planned, place } = leased;
    keeper.addLeased(beginning.held, planned, () => place.begin((free) => work.goOn(beginning, call, free)));
    return true;
  }

  drop({ run: { id, pipeline } }: NewRun): void {
    this.#arrive(id);
    const leased = this.#leased.get(id);
    if (leased === undefined) return;
    this.#leased.delete(id);
    const { keeper, sideEffects } = this.#options;
    if (leased.countedMs !== null) sideEffects.takeBack(pipeline, leased.countedMs);
    leased.place.giveBack();
    keeper.runPlaces.remove(id);
  }

  #tryLease(made: NewRun): Leased | null {
    const { run, steps, definition } = made;
    const first = steps.find(({ state }) => state === "queued");
    // A run with a parent may be left out by the store, which does not tell.
    if (first === undefined || run.parent !== null) return null;
    if (run.concurrencyKey !== null || definition.exclusive !== null) return null;
    const { keeper, builder } = this.#options;
    const held = holdRun({ run, steps, definition, event: builder.eventOf(made) });
    const ahead = { runs: this.#runsAhead.get(run.pipeline) ?? 0, steps: this.#stepsAhead };
    return keeper.hasRoom(held, ahead) ? this.#plan(held, first) : null;
  }

  #plan(held: HeldRun, first: StepRow): Leased | null {
    const { keeper, changes, sideEffects } = this.#options;
    const now = changes.now();
    const found = this.#call(held, first);
    if (found === null || !this.#mayLeaseNow(held, found.call, now.trustedMs)) return null;
    const planned = planLease(held, first, now);
    const { pipeline } = held.run;
    const countedMs = isRuleStarted(held) ? now.trustedMs : null;
    if (countedMs !== null) {
      planned.change.sideEffect = { minute: minuteOf(countedMs), pipeline };
      sideEffects.count(pipeline, countedMs);
    }
    return { ...found, planned, place: keeper.reserve(held), countedMs };
  }

  /** What the first step is about to do; null when something has to be asked or waited for before. */
  #call(held: HeldRun, first: StepRow): { beginning: Beginning; call: Call } | null {
    const { inputs } = this.#options;
    const unready = inputs.unready(held);
    if (unready !== null) {
      // It is asked for again when the step begins, and what went wrong is told then.
      unready.catch(() => {});
      return null;
    }
    try {
      const beginning = beginningOf(held, first, inputs);
      return isPlainAction(beginning) ? { beginning, call: callOf(beginning) } : null;
    } catch {
      // The step fails by it when it begins.
      return null;
    }
  }

  /** Whatever forbids that an attempt begins now, or gives it a condition, is asked here. */
  #mayLeaseNow(held: HeldRun, { through }: Call, nowMs: number): boolean {
    const { breakers, sideEffects, heldBack } = this.#options;
    if (heldBack.refusal(held) !== null) return false;
    if (through !== null && !breakers.isClosed(through)) return false;
    const { pipeline } = held.run;
    return (
      !isRuleStarted(held) ||
      sideEffects.refusal(pipeline, held.definition.sideEffectsPerHour, nowMs) === null
    );
  }

  #goAhead({ run: { id, pipeline }, steps }: NewRun): void {
    const queued = steps.filter(({ state }) => state === "queued").length;
    this.#ahead.set(id, { pipeline, steps: queued });
    this.#stepsAhead += queued;
    this.#runsAhead.set(pipeline, (this.#runsAhead.get(pipeline) ?? 0) + 1);
  }

  #arrive(id: string): void {
    const ahead = this.#ahead.get(id);
    if (ahead === undefined) return;
    this.#ahead.delete(id);
    this.#stepsAhead -= ahead.steps;
    const left = this.#runsAhead.get(ahead.pipeline)! - 1;
    if (left > 0) this.#runsAhead.set(ahead.pipeline, left);
    else this.#runsAhead.delete(ahead.pipeline);
  }
}

/** An action that begins without a condition, a lock or a list. */
function isPlainAction({ definition, compiled }: Beginning): boolean {
  const { when, items, lock } = compiled;
  return definition.work === "action" && when === null && items === null && lock === null;
}

function withLease({ steps, definition, records }: NewRun, planned: PlannedChange): NewRun {
  const { attempt, sideEffect, records: leased } = planned.change;
  const changed = new Map(planned.steps.map((step) => [step.stepId, step]));
  return {
    run: planned.run,
    steps: steps.map((step) => changed.get(step.stepId) ?? step),
    definition,
    records: [...records, ...leased],
    lease: { attempt: attempt!, ...(sideEffect ? { sideEffect } : {}) },
  };
}
