import { ActionWork } from "./action-work.ts";
import { Additions } from "./additions.ts";
import { Approvals } from "./approvals.ts";
import { Breakers } from "./breakers.ts";
import { ChildRuns } from "./child-runs.ts";
import type { EngineOptions, RunCounters } from "./engine-options.ts";
import { FirstLeases } from "./first-leases.ts";
import { Recovery } from "./recovery.ts";
import { RunBuilder } from "./run-builder.ts";
import { RunChanges } from "./run-changes.ts";
import { HeldBack } from "./held-back.ts";
import { type KeeperHooks, RunKeeper } from "./run-keeper.ts";
import { RunLocks } from "./run-locks.ts";
import { RunStops } from "./run-stops.ts";
import { SideEffects } from "./side-effects.ts";
import { StepInputs } from "./step-input.ts";
import { StepWork } from "./step-work.ts";

export type EngineParts = ReturnType<typeof createParts>;

/** The parts of the run engine, each handed what it needs of the others. `told`: what the engine itself looks at. */
export function createParts(
  options: EngineOptions,
  counters: RunCounters,
  killing: AbortSignal,
  told: Pick<KeeperHooks, "started" | "ended" | "overdue">,
) {
  const { store, clock, ids, log, pipelines, effectOf, later } = options;
  const inputs = new StepInputs(options.agent, options);
  const builder = new RunBuilder({
    pipelines,
    inputs,
    shared: options.parameters,
    config: options.config,
    clock,
    ids,
  });
  const breakers = new Breakers();
  const sideEffects = new SideEffects(options.maxSideEffects);
  const heldBack = new HeldBack({
    brake: options.brake,
    again: (held, stepId) => keeper.goOn(held, stepId),
  });
  const keeper = new RunKeeper({
    clock,
    log,
    maxSteps: options.maxSteps,
    limits: ({ run, definition }) => {
      const { concurrency, concurrencyByKey } = pipelines.get(run.pipeline) ?? definition;
      return { pipeline: concurrency, byKey: concurrencyByKey?.limit ?? 1 };
    },
    hooks: {
      ...told,
      holdBack: (held) => {
        if (heldBack.refusal(held) === null) return false;
        heldBack.park(held, null);
        return true;
      },
      queued: (held) => keeper.track("a run that waits for a place", held, locks.queued(held)),
      begin: (held) => {
        if (held.definition.exclusive === null) keeper.open(held);
        else keeper.track("the lock of a run", held, locks.forRun(held));
      },
      execute: (held, stepId, free) => work.execute(held, stepId, free),
      granted: (held) => keeper.track("a run that waited for a lock", held, locks.granted(held)),
      abort: (held, steps) => stops.abort(held, steps),
      stepExpired: (held, stepId) => stops.stepExpired(held, stepId),
      runExpired: (held) => stops.runExpired(held),
    },
  });
  const changes = new RunChanges({
    store,
    inputs,
    counters,
    clock,
    ids,
    log,
    killing,
    done: (held, planned) => keeper.apply(held, planned),
  });
  const stops = new RunStops({ keeper, changes });
  const locks = new RunLocks({ keeper, changes, inputs, stop: (held, stop) => stops.stop(held, stop) });
  const children = new ChildRuns({
    find: (runId) => keeper.runs.get(runId),
    changes,
    builder,
    random: ids.random,
  });
  const actions = new ActionWork({
    changes,
    actions: options.actions,
    additions: new Additions({ changes, builder, store, effectOf, later, clock, ids }),
    breakers,
    sideEffects,
    heldBack,
    counters,
    ids,
    maxOutputBytes: options.maxOutputBytes,
    killing,
  });
  const work = new StepWork({ changes, inputs, locks, actions, children, heldBack, log, killing });
  const firstLeases = new FirstLeases({
    ...{ keeper, builder, inputs, work, changes, breakers, sideEffects, heldBack },
  });
  return {
    keeper,
    firstLeases,
    builder,
    breakers,
    sideEffects,
    heldBack,
    children,
    stops,
    approvals: new Approvals({ keeper, changes, store, uidOf: options.uidOf }),
    recovery: new Recovery({ store, keeper, locks, stops, children, actions }),
  };
}
