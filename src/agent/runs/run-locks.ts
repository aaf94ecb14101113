import { messageOf } from "../../core/errors.ts";
import type { RunStop, StepRow } from "../../model/run.ts";
import type { HeldRun } from "./held-run.ts";
import { lockName } from "./locks.ts";
import { planUnstarted } from "./plan-outcome.ts";
import { planLock, planUnlocked } from "./plan-waits.ts";
import type { RunChanges } from "./run-changes.ts";
import type { RunKeeper } from "./run-keeper.ts";
import { type Resolve, type StepInputs, textResolver } from "./step-input.ts";
import { WaitGraph } from "./wait-graph.ts";

interface Options {
  keeper: RunKeeper;
  changes: RunChanges;
  inputs: StepInputs;
  stop: (held: HeldRun, stop: RunStop) => Promise<void>;
}

type Busy = "queue" | "abort";

interface Entry {
  /** Takes a place at a lock that is free. */
  place: () => Promise<boolean>;
  /** What is done instead of waiting; null waits. */
  abort: ((why: string) => Promise<void>) | null;
}

/** Takes the locks of pipelines and steps: a durable place first; who has the first place goes on, the others wait. */
export class RunLocks {
  readonly #options: Options;
  readonly #names = new WeakMap<object, Resolve<string>>();
  /** Runs in a deadlock that are giving way: by that the others come out of it. */
  readonly #yielding = new Set<string>();

  constructor(options: Options) {
    this.#options = options;
  }

  /** The run has its place: takes the lock of its pipeline, if it has one, and opens it. */
  async forRun(held: HeldRun): Promise<void> {
    const { keeper } = this.#options;
    const { exclusive } = held.definition;
    if (exclusive === null) return keeper.open(held);
    let lock: string;
    try {
      lock = this.#resolve(held, exclusive);
    } catch (error) {
      return await this.#stop(held, `exclusive.lock: ${messageOf(error)}`);
    }
    const name = lockName(held.definition.namespace, lock);
    const abort = exclusive.busy === "queue" ? null : (why: string) => this.#stop(held, why);
    const has = keeper.locks.places(held.run.id).has(name);
    const place = async () => has || (await this.#lockRun(held, lock, true));
    if (!(await this.#enter(held, name, { place, abort }))) return;
    if (keeper.locks.holder(name) !== held.run.id) {
      if (this.#isDeadlock(held, name)) return await this.#giveUp(held, this.#deadlock(held, name));
      if (held.run.state === "queued" || !keeper.locks.places(held.run.id).has(name))
        await this.#lockRun(held, lock, false);
      if (keeper.locks.holder(name) !== held.run.id && this.#isDeadlock(held, name)) {
        // Others began to wait while its own place became durable.
        return await this.#giveUp(held, this.#deadlock(held, name));
      }
    }
    if (keeper.locks.holder(name) === held.run.id) await this.#openRun(held);
  }

  /** True when the step may go on; false when it waits, or the run is stopped, or the step begins anew. */
  async forStep(held: HeldRun, step: StepRow, lock: string, busy: Busy): Promise<boolean> {
    const { keeper, changes } = this.#options;
    const name = lockName(held.definition.namespace, lock);
    if (keeper.locks.holder(name) === held.run.id) return true;
    const place = (free: boolean) =>
      changes.ofStep(held, step, (live, row, now) => planLock(live, row, lock, now, free));
    let again = false;
    const entered = await this.#enter(held, name, {
      place: async () => {
        const planned = await place(true);
        again = planned?.queued.some((row) => row.stepId === step.stepId) ?? false;
        return planned !== null;
      },
      // What cleans up after a run cannot be ended by a lock, but it does not wait for it either.
      abort:
        busy === "queue"
          ? null
          : (why) => (step.part === "steps" ? this.#stop(held, why) : this.#fail(held, step, "busy", why)),
    });
    if (!entered || again) return false;
    if (keeper.locks.holder(name) === held.run.id) return held.steps.get(step.stepId)?.state === "queued";
    if (this.#isDeadlock(held, name)) await this.#fail(held, step, "deadlock", this.#deadlock(held, name));
    else {
      await place(false);
      // The holder may have ended while the step was put to wait: then nobody else wakes it.
      if (keeper.locks.holder(name) === held.run.id) await this.#unlock(held, step.stepId);
      else if (this.#waits(held, step.stepId) && this.#isDeadlock(held, name)) {
        await this.#askAgain(held, step.stepId);
      }
    }
    return false;
  }

  /** A run that its parent waits for has no place: those who have the places may wait for its parent. */
  async queued(held: HeldRun): Promise<void> {
    if (this.#graph().isDeadlock(held.run.id, null)) await this.#giveUp(held, noPlace(held));
  }

  /** After a restart: what was in a deadlock before, or is by new limits, comes out of it. */
  async recovered(): Promise<void> {
    const { runs, runPlaces } = this.#options.keeper;
    let graph = this.#graph();
    const giving: Promise<void>[] = [];
    for (const held of runs.values()) {
      const { id } = held.run;
      const waiting = [...held.steps.values()].filter((step) => this.#waits(held, step.stepId));
      const isQueued = held.run.starter.kind === "parent" && !runPlaces.hasBegun(id);
      if ((waiting.length === 0 && !isQueued) || !graph.isDeadlock(id, null)) continue;
      if (isQueued) giving.push(this.#giveUp(held, noPlace(held)));
      else for (const step of waiting) giving.push(this.#askAgain(held, step.stepId));
      graph = this.#graph();
    }
    await Promise.all(giving);
  }

  /** A lock has come free for a run that waited for it. */
  async granted(held: HeldRun): Promise<void> {
    if (!held.open) await this.#openRun(held);
    for (const step of [...held.steps.values()]) {
      if (step.state === "waiting" && step.waits === "lock") await this.#unlock(held, step.stepId);
    }
  }

  /** Takes a free place unless the run has one. False when there is nothing more to do for it. */
  async #enter(held: HeldRun, name: string, { place, abort }: Entry): Promise<boolean> {
    const { locks } = this.#options.keeper;
    const { id } = held.run;
    const before = locks.holder(name);
    if (before === undefined && !(await place())) return false;
    const holder = locks.holder(name);
    if (abort === null || holder === undefined || holder === id) return true;
    await abort(`exclusive lock ${name} is held by run ${holder}`);
    return false;
  }

  /** A step that is not to wait ends without having begun. */
  async #fail(held: HeldRun, step: StepRow, code: string, message: string): Promise<void> {
    const error = { code, message, retryable: false, started: false };
    await this.#options.changes.ofStep(held, step, (live, row, now) => planUnstarted(live, row, error, now));
  }

  async #lockRun(held: HeldRun, lock: string, free: boolean): Promise<boolean> {
    // One that has waited or begun, and whose place is not there after a restart, takes another and stands as it did.
    const planned = await this.#options.changes.change(held, (now) =>
      planLock(held, null, lock, now, free || held.run.state !== "queued"),
    );
    return planned !== null;
  }

  async #openRun(held: HeldRun): Promise<void> {
    await this.#options.changes.change(held, (now) =>
      held.run.state === "waiting" ? planUnlocked(held, null, now) : null,
    );
    this.#options.keeper.open(held);
  }

  async #unlock(held: HeldRun, stepId: string): Promise<void> {
    await this.#options.changes.change(held, (now) => {
      const row = held.steps.get(stepId);
      return row && this.#waits(held, stepId) ? planUnlocked(held, row, now) : null;
    });
  }

  #waits(held: HeldRun, stepId: string): boolean {
    const step = held.steps.get(stepId);
    return step?.state === "waiting" && step.waits === "lock";
  }

  /** A step that waits asks for its lock once more, and is told then. Until then it keeps nobody waiting. */
  #askAgain(held: HeldRun, stepId: string): Promise<void> {
    return this.#yield(held, () => this.#unlock(held, stepId));
  }

  #giveUp(held: HeldRun, reason: string): Promise<void> {
    return this.#yield(held, () => this.#stop(held, reason));
  }

  async #yield({ run: { id } }: HeldRun, work: () => Promise<void>): Promise<void> {
    this.#yielding.add(id);
    try {
      await work();
    } finally {
      this.#yielding.delete(id);
    }
  }

  #isDeadlock(held: HeldRun, name: string): boolean {
    return this.#graph().isDeadlock(held.run.id, name);
  }

  #graph(): WaitGraph {
    const { runs, locks, runPlaces } = this.#options.keeper;
    return new WaitGraph({ runs, locks, places: runPlaces, yielding: this.#yielding });
  }

  #deadlock(held: HeldRun, name: string): string {
    const holder = this.#options.keeper.locks.holder(name);
    return `exclusive lock ${name} is held by run ${holder}, which itself waits for run ${held.run.id}`;
  }

  async #stop(held: HeldRun, reason: string): Promise<void> {
    await this.#options.stop(held, { state: "failed", by: "lock", reason });
  }

  #resolve(held: HeldRun, exclusive: { lock: string }): string {
    let resolve = this.#names.get(exclusive);
    if (!resolve) this.#names.set(exclusive, (resolve = textResolver(exclusive.lock, "exclusive.lock")));
    return resolve(() => this.#options.inputs.before(held.event, held.run.params, held.definition.namespace));
  }
}

function noPlace({ run: { pipeline, parent } }: HeldRun): string {
  return `pipeline ${pipeline} has no place for it: the runs that have one wait for run ${parent?.run}, which waits for this one`;
}
