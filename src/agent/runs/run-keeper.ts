import type { Clock } from "../../core/clock.ts";
import { messageOf } from "../../core/errors.ts";
import type { Logger } from "../../core/logger.ts";
import type { NewRun } from "../../model/run-build.ts";
import { hasEnded, type OpenRun, type StepRow } from "../../model/run.ts";
import { Deadlines } from "./deadlines.ts";
import { type HeldRun, holdRun } from "./held-run.ts";
import { lockName, Locks } from "./locks.ts";
import type { PlannedChange } from "./plan.ts";
import type { PlaceLimits } from "./run-places.ts";
import { RunPlaces } from "./run-places.ts";
import { noteEnded } from "./step-input.ts";
import { type StepPlace, StepPlaces } from "./step-places.ts";

/** What the keeper asks others to do. None of it throws. */
export interface KeeperHooks {
  /** A run has come into being. */
  started(held: HeldRun): void;
  /** A run that another one waits for has no place yet. */
  queued(held: HeldRun): void;
  /** Whether a run that has not begun is held back; it is given to `goOn` later. */
  holdBack(held: HeldRun): boolean;
  /** The run has its place: take its lock, then `open` it. */
  begin(held: HeldRun): void;
  /** A queued step has its place, until it calls `free` or settles. */
  execute(held: HeldRun, stepId: string, free: () => void): Promise<void>;
  /** A lock came free for a run. */
  granted(held: HeldRun, lock: string): void;
  /** Attempts and child runs that are to be stopped. */
  abort(held: HeldRun, steps: StepRow[]): void;
  stepExpired(held: HeldRun, stepId: string): void;
  runExpired(held: HeldRun): void;
  overdue(held: HeldRun): void;
  ended(held: HeldRun): void;
}

interface Options {
  clock: Clock;
  log: Logger;
  maxSteps: number;
  limits: (held: HeldRun) => PlaceLimits;
  hooks: KeeperHooks;
}

/** Of a held run's timers, those of the run itself. */
const RUN_DEADLINE = "";
const RUN_WARNING = "!";

/** The open runs, and what a durable change of one sets off: queues, timers, locks, runs that begin, its end. */
export class RunKeeper {
  readonly runs = new Map<string, HeldRun>();
  readonly locks = new Locks();
  readonly deadlines: Deadlines;
  readonly runPlaces: RunPlaces;
  readonly stepPlaces: StepPlaces;
  readonly #options: Options;
  readonly #background = new Set<Promise<void>>();
  #stopped = false;

  constructor(options: Options) {
    this.#options = options;
    this.deadlines = new Deadlines(options.clock);
    this.stepPlaces = new StepPlaces(options.maxSteps);
    this.runPlaces = new RunPlaces((run) => options.hooks.begin(this.runs.get(run)!));
  }

  /** Takes over a run that has come into being. */
  add(open: OpenRun, parent?: HeldRun): HeldRun {
    const held = this.hold(open);
    if (parent?.unattended) held.unattended = true;
    this.#options.hooks.started(held);
    this.#place(held);
    return held;
  }

  /** What was held back stands where it would have stood: a step, or with null a run that has not begun. */
  goOn(held: HeldRun, stepId: string | null): void {
    if (this.#stopped || this.runs.get(held.run.id) !== held) return;
    if (stepId === null) return this.#place(held);
    const step = held.steps.get(stepId);
    if (step?.state === "queued") this.#enqueue(held, step);
  }

  /** Runs that wait for a place and are to be held back leave the queue, so that others do not wait behind them. */
  holdBackWaiting(): void {
    for (const held of this.runs.values()) {
      const { id } = held.run;
      if (this.runPlaces.waits(id) && this.#options.hooks.holdBack(held)) this.runPlaces.remove(id);
    }
  }

  hold(open: OpenRun): HeldRun {
    const held = holdRun(open);
    this.runs.set(held.run.id, held);
    return held;
  }

  /** Whether a run that is not there yet would have its place at once, and its first step one too, after those `ahead`. */
  hasRoom(held: HeldRun, ahead: { runs: number; steps: number }): boolean {
    return (
      this.stepPlaces.hasRoom(ahead.steps) &&
      this.runPlaces.hasRoom(held.run.pipeline, this.#options.limits(held), ahead.runs)
    );
  }

  /** Places for a run for which there is room, and for its first step. Once it is durable, `addLeased` takes it over. */
  reserve(held: HeldRun): StepPlace {
    const { id: run, pipeline, priority } = held.run;
    this.runPlaces.reserve({ run, pipeline, key: null, priority }, this.#options.limits(held));
    return this.stepPlaces.reserve();
  }

  /** Takes over a run that came into being with its first lease; `begin` does what the lease is for. */
  addLeased(held: HeldRun, planned: PlannedChange, begin: () => void): void {
    this.runs.set(held.run.id, held);
    this.#options.hooks.started(held);
    this.apply(held, planned);
    begin();
    this.open(held);
  }

  /** Puts a held run in the queue for a place; `begun`: it had its place before a restart. */
  seat(held: HeldRun, begun: boolean): void {
    if (!begun && this.#options.hooks.holdBack(held)) return;
    const { id, pipeline, concurrencyKey, priority } = held.run;
    this.runPlaces.add(
      { run: id, pipeline, key: concurrencyKey, priority },
      this.#options.limits(held),
      begun,
    );
  }

  /** The run has its place and its lock: its steps may go. */
  open(held: HeldRun): void {
    if (held.open) return;
    held.open = true;
    for (const step of held.steps.values()) if (step.state === "queued") this.#enqueue(held, step);
  }

  /** A change is durable: the rows are as it says, and what follows from it begins. */
  apply(held: HeldRun, planned: PlannedChange): void {
    const { change } = planned;
    const begins = held.run.startedMs === null && planned.run.startedMs !== null;
    held.run = planned.run;
    for (const step of planned.steps) held.steps.set(step.stepId, step);
    for (const id of planned.removed) held.steps.delete(id);
    noteEnded(held, planned.steps);
    if (change.lock) this.locks.enter(held.run.id, lockName(change.lock.namespace, change.lock.lock));
    for (const made of planned.started) this.#addStarted(held, made);
    if (hasEnded(held.run.state)) return this.#end(held);
    if (begins) this.watchRun(held);
    for (const step of planned.steps) if (step.extra?.deadlineMs !== undefined) this.watchStep(held, step);
    if (planned.abort.length > 0) this.#options.hooks.abort(held, planned.abort);
    if (held.open) for (const step of planned.queued) this.#enqueue(held, step);
  }

  /** Keeps the time of a run that has begun. */
  watchRun(held: HeldRun): void {
    const { definition, run } = held;
    const { hooks, clock } = this.#options;
    if (run.deadlineMs !== null) {
      this.#timer(held, RUN_DEADLINE, run.deadlineMs, () => hooks.runExpired(held));
    }
    if (definition.warnAfterMs !== null && run.startedMs !== null) {
      const left = definition.warnAfterMs - Math.max(0, clock.wall() - run.startedMs);
      this.#timer(held, RUN_WARNING, clock.trusted() + left, () => hooks.overdue(held));
    }
  }

  watchStep(held: HeldRun, step: StepRow): void {
    if (hasEnded(step.state)) {
      held.timers?.get(step.stepId)?.();
      held.timers?.delete(step.stepId);
      return;
    }
    const { deadlineMs } = step.extra!;
    if (deadlineMs === undefined || step.waits === "needs" || held.timers?.has(step.stepId)) return;
    this.#timer(held, step.stepId, deadlineMs, () => this.#options.hooks.stepExpired(held, step.stepId));
  }

  /** Work that nobody waits for, but the agent's stop does. */
  track(what: string, held: HeldRun, work: Promise<unknown>): void {
    const tracked = work.then(
      () => {},
      (error: unknown) => {
        if (this.#stopped) return;
        this.#options.log.error(`${what} could not go on`, { run: held.run.id, error: messageOf(error) });
      },
    );
    this.#background.add(tracked);
    void tracked.then(() => this.#background.delete(tracked));
  }

  /** Nothing begins any more. */
  stop(): void {
    this.#stopped = true;
    this.runPlaces.stop();
    this.stepPlaces.stop();
    this.deadlines.stop();
  }

  /** Resolves when nothing is under way any more. */
  async idle(): Promise<void> {
    do await Promise.all([...this.#background, this.stepPlaces.idle()]);
    while (this.#background.size > 0);
  }

  #place(held: HeldRun): void {
    this.seat(held, false);
    const { id, starter } = held.run;
    if (starter.kind === "parent" && this.runPlaces.waits(id)) this.#options.hooks.queued(held);
  }

  #addStarted(parent: HeldRun, made: NewRun): void {
    const { key } = made.run.parent!;
    // The store has left out what an earlier attempt had begun already.
    if (parent.spawned?.has(key)) return;
    (parent.spawned ??= new Set()).add(key);
    this.add({ ...made, event: parent.event }, parent);
  }

  #enqueue(held: HeldRun, step: StepRow): void {
    const work = (free: () => void) => this.#options.hooks.execute(held, step.stepId, free);
    const { priority } = held.run;
    if (step.notBeforeMs <= this.#options.clock.trusted()) return this.stepPlaces.add(priority, work);
    this.deadlines.at(step.notBeforeMs, () => this.stepPlaces.add(priority, work));
  }

  #timer(held: HeldRun, name: string, atMs: number, fire: () => void): void {
    held.timers ??= new Map();
    held.timers.get(name)?.();
    held.timers.set(name, this.deadlines.at(atMs, fire));
  }

  #end(held: HeldRun): void {
    const { id } = held.run;
    this.runs.delete(id);
    if (held.timers !== null) for (const cancel of held.timers.values()) cancel();
    const passed = this.locks.leave(id);
    this.runPlaces.remove(id);
    for (const { name, holder } of passed) {
      const next = this.runs.get(holder);
      if (next) this.#options.hooks.granted(next, name);
    }
    this.#options.hooks.ended(held);
  }
}
