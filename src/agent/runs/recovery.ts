import { itemId } from "../../model/run-foreach.ts";
import type { LockPlace, OpenRun, RunRow, StepRow } from "../../model/run.ts";
import type { AttemptOutcome } from "../../model/run-transitions.ts";
import type { PipelineDefinition } from "../../model/pipeline.ts";
import type { ActionWork } from "./action-work.ts";
import type { ChildRuns } from "./child-runs.ts";
import { type HeldRun, isUnattended } from "./held-run.ts";
import type { RunKeeper } from "./run-keeper.ts";
import type { RunLocks } from "./run-locks.ts";
import type { RunStops } from "./run-stops.ts";

interface Options {
  store: {
    openRuns(): Promise<OpenRun[]>;
    lockPlaces(): Promise<LockPlace[]>;
    run(id: string): Promise<{ run: RunRow } | null>;
  };
  keeper: RunKeeper;
  locks: RunLocks;
  stops: RunStops;
  children: ChildRuns;
  actions: ActionWork;
}

/** Takes up every run that was open when the agent stopped, by the version of its pipeline that it began with. */
export class Recovery {
  readonly #options: Options;

  constructor(options: Options) {
    this.#options = options;
  }

  /** Resolves when every run is taken up. Attempts that nobody saw end are told as unknown after that. */
  async recover(): Promise<{ runs: number; interrupted: number }> {
    const { store, keeper, locks } = this.#options;
    const [open, places] = await Promise.all([store.openRuns(), store.lockPlaces()]);
    keeper.locks.load(places);
    const runs = holdAll(open, keeper);
    for (const held of runs) {
      if (!held.unattended && held.run.parent !== null) held.unattended = await this.#isUnattended(held);
    }
    let interrupted = 0;
    for (const held of runs) interrupted += this.#takeUp(held);
    const { begun, queued } = bySeat(runs, keeper);
    for (const held of begun) keeper.seat(held, true);
    for (const held of queued) keeper.seat(held, false);
    await locks.recovered();
    return { runs: runs.length, interrupted };
  }

  /** Of a run that another one began: as that one is, which may have ended. One that nobody knows any more was no person's. */
  async #isUnattended({ run }: HeldRun): Promise<boolean> {
    const { keeper, store } = this.#options;
    for (let row = run; row.starter.kind === "parent" || row.starter.kind === "spawn";) {
      const above: HeldRun | undefined = keeper.runs.get(row.starter.by);
      const found: RunRow | undefined = above?.run ?? (await store.run(row.starter.by))?.run;
      if (found === undefined || above?.unattended || isUnattended(found)) return true;
      row = found;
    }
    return false;
  }

  /** Timers of a run, and what it waits for that may have come meanwhile. Gives how many attempts were cut off. */
  #takeUp(held: HeldRun): number {
    const { keeper, locks } = this.#options;
    let interrupted = 0;
    let waitsForLock = false;
    if (held.run.startedMs !== null) keeper.watchRun(held);
    for (const step of held.steps.values()) {
      if (step.extra?.deadlineMs !== undefined) keeper.watchStep(held, step);
      if (step.waits === "lock") waitsForLock = true;
      if (step.state !== "running" || held.steps.has(itemId(step.stepId, 0))) continue;
      if (step.extra?.child !== undefined) {
        keeper.track("a step with a child run", held, this.#lookForChild(held, step, step.extra.child));
      } else {
        interrupted++;
        keeper.track("an attempt that was cut off", held, this.#interrupted(held, step));
      }
    }
    if (waitsForLock && keeper.locks.awaited(held.run.id).length === 0) {
      keeper.track("a step that waited for a lock", held, locks.granted(held));
    }
    return interrupted;
  }

  async #interrupted(held: HeldRun, step: StepRow): Promise<void> {
    const message = `the agent stopped during attempt ${step.attempts}`;
    const error = { code: "interrupted", message, retryable: true, started: true };
    const outcome: AttemptOutcome = { kind: "unknown", error };
    await this.#options.actions.settle(held, step, outcome, null);
  }

  /** The child may have ended, or its parent may have been stopped, when nobody was there to pass it on. */
  async #lookForChild(held: HeldRun, step: StepRow, childId: string): Promise<void> {
    const { keeper, store, children, stops } = this.#options;
    if (keeper.runs.has(childId)) {
      if (held.run.stop !== null) stops.abort(held, [step]);
      return;
    }
    const found = await store.run(childId);
    if (found) return await children.ended(held, step.stepId, found.run);
    const message = `run ${childId} is no longer in the store: how it ended is not known`;
    const error = { code: "child_failed", message, retryable: false, started: true };
    await this.#options.actions.settle(held, step, { kind: "error", error }, null);
  }
}

/** Runs of the same pipeline version share one definition, so that its expressions are compiled once. */
function holdAll(open: OpenRun[], keeper: RunKeeper): HeldRun[] {
  const definitions = new Map<string, PipelineDefinition>();
  return open.map((each) => {
    const definition = definitions.get(each.run.definition) ?? each.definition;
    definitions.set(each.run.definition, definition);
    const held = keeper.hold({ ...each, definition });
    held.recovered = true;
    return held;
  });
}

/** Those who had a place keep it: only what they leave over is for the others, the first of whom come first again. */
function bySeat(runs: HeldRun[], keeper: RunKeeper): { begun: HeldRun[]; queued: HeldRun[] } {
  const begun: HeldRun[] = [];
  const queued: HeldRun[] = [];
  for (const held of runs) {
    // A run with a place at a lock had its place under way too: others wait behind it.
    const had = held.run.state !== "queued" || keeper.locks.places(held.run.id).size > 0;
    (had ? begun : queued).push(held);
  }
  return { begun, queued: queued.toSorted((a, b) => b.run.priority - a.run.priority) };
}
