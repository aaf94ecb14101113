import type { Clock } from "../../core/clock.ts";
import { HoldfastError } from "../../core/errors.ts";
import type { Ids } from "../../core/ids.ts";
import type { Logger } from "../../core/logger.ts";
import type { Json } from "../../model/json.ts";
import type { Effect, PipelineDefinition } from "../../model/pipeline.ts";
import type { NewRun } from "../../model/run-build.ts";
import type { BreakerState } from "../../model/breaker.ts";
import type { RunState, Starter } from "../../model/run.ts";
import { ActionWork } from "./action-work.ts";
import { Additions } from "./additions.ts";
import { type Answer, Approvals, isAsking } from "./approvals.ts";
import { Breakers } from "./breakers.ts";
import { ChildRuns } from "./child-runs.ts";
import type { HeldRun } from "./held-run.ts";
import { ManualRuns } from "./manual-runs.ts";
import type { ActionPort, LaterPort, RunMemoryPort, RunStorePort, SharedParametersPort } from "./ports.ts";
import { Recovery } from "./recovery.ts";
import { RunBuilder, type RunRequest } from "./run-builder.ts";
import { RunChanges } from "./run-changes.ts";
import { RecentEnds, runProblem } from "./run-health.ts";
import { RunKeeper } from "./run-keeper.ts";
import { RunLocks } from "./run-locks.ts";
import { RunStops } from "./run-stops.ts";
import { SideEffects } from "./side-effects.ts";
import { StepInputs } from "./step-input.ts";
import { StepWork } from "./step-work.ts";

export interface RunCounters {
  started: number;
  /** Ended runs by state. */
  ended: Record<string, number>;
  attempts: number;
  /** Attempts whose outcome is unknown. */
  unknown: number;
  /** Results that came with an old fence and were refused. */
  stale: number;
  /** Runs that people wanted to start and that were refused because there were too many. */
  refused: number;
  /** Attempts that a cap on side effects held back. */
  limited: number;
  /** Runs that took longer than their pipeline's `warn_after`. */
  overdue: number;
}

export interface RunSummary {
  id: string;
  pipeline: string;
  state: RunState;
  /** Steps under way or waiting for somebody. */
  steps: string[];
  starter: Starter;
  ageMs: number;
  priority: number;
  /** It takes longer than `warn_after`. */
  overdue: boolean;
}

export interface EngineOptions {
  store: RunStorePort;
  actions: ActionPort;
  pipelines: Map<string, PipelineDefinition>;
  agent: { id: string; labels: Record<string, string> };
  /** What an action declares; undefined when there is no such action. */
  effectOf: (action: string) => Effect | undefined;
  /** What expressions see as `memory`. */
  memory?: RunMemoryPort;
  /** What runs find as parameters. */
  parameters?: SharedParametersPort;
  /** What stands for a secret in the input of an action. */
  secretPlace?: (name: string) => string;
  /** Keeps the runs that actions put off; without it there are none. */
  later?: LaterPort;
  /** Of a local user, for `user:NAME` among approvers. */
  uidOf: (name: string) => number | undefined;
  clock: Clock;
  ids: Ids;
  log: Logger;
  /** Steps that may run at once. */
  maxSteps: number;
  /** Bytes of JSON of a step's output that are kept. */
  maxOutputBytes: number;
  /** Open runs from which on triggers are held back and people refused. */
  maxOpenRuns: number;
  /** Attempts of actions in an hour by runs that rules start. */
  maxSideEffects: number;
}

/** Carries runs through their steps: lease, attempt, result, what follows. Each change is one durable transaction. */
export class RunEngine {
  readonly counters: RunCounters = {
    started: 0,
    ended: {},
    attempts: 0,
    unknown: 0,
    stale: 0,
    refused: 0,
    limited: 0,
    overdue: 0,
  };
  readonly #options: EngineOptions;
  readonly #keeper: RunKeeper;
  readonly #builder: RunBuilder;
  readonly #breakers = new Breakers();
  readonly #sideEffects: SideEffects;
  readonly #children: ChildRuns;
  readonly #stops: RunStops;
  readonly #approvals: Approvals;
  readonly #manual: ManualRuns;
  readonly #recovery: Recovery;
  readonly #ends = new RecentEnds();
  readonly #killing = new AbortController();
  readonly #roomWaiters: (() => void)[] = [];
  #draining = false;

  constructor(options: EngineOptions) {
    this.#options = options;
    const { store, clock, ids, log, pipelines } = options;
    const { counters } = this;
    const killing = this.#killing.signal;
    const inputs = new StepInputs(options.agent, options);
    const builder = new RunBuilder({ pipelines, inputs, shared: options.parameters, clock, ids });
    const keeper = new RunKeeper({
      clock,
      log,
      maxSteps: options.maxSteps,
      limits: ({ run, definition }) => {
        const { concurrency, concurrencyByKey } = pipelines.get(run.pipeline) ?? definition;
        return { pipeline: concurrency, byKey: concurrencyByKey?.limit ?? 1 };
      },
      hooks: {
        started: (held) => this.#started(held),
        begin: (held) => {
          if (held.definition.exclusive === null) keeper.open(held);
          else keeper.track("the lock of a run", held, locks.forRun(held));
        },
        execute: (held, stepId, free) => work.execute(held, stepId, free),
        granted: (held) => keeper.track("a run that waited for a lock", held, locks.granted(held)),
        abort: (held, steps) => stops.abort(held, steps),
        stepExpired: (held, stepId) => stops.stepExpired(held, stepId),
        runExpired: (held) => stops.runExpired(held),
        overdue: (held) => this.#overdue(held),
        ended: (held) => this.#ended(held),
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
    const children = new ChildRuns({ changes, builder, random: ids.random });
    const { effectOf, later } = options;
    const additions = new Additions({ changes, builder, store, effectOf, later, clock, ids });
    this.#sideEffects = new SideEffects(options.maxSideEffects);
    const actions = new ActionWork({
      changes,
      actions: options.actions,
      additions,
      breakers: this.#breakers,
      sideEffects: this.#sideEffects,
      counters,
      ids,
      maxOutputBytes: options.maxOutputBytes,
      killing,
    });
    const work = new StepWork({ changes, inputs, locks, actions, children, log, killing });
    this.#keeper = keeper;
    this.#builder = builder;
    this.#children = children;
    this.#stops = stops;
    this.#approvals = new Approvals({ keeper, changes, store, uidOf: options.uidOf });
    this.#recovery = new Recovery({ store, keeper, locks, stops, children, actions });
    this.#manual = new ManualRuns({
      store,
      builder,
      admit: (runs) => this.admit(runs),
      mayStart: () => this.#mayStart(),
    });
  }

  get openRuns(): number {
    return this.#keeper.runs.size;
  }

  get stepsInFlight(): number {
    return this.#keeper.stepPlaces.inFlight;
  }

  /** Takes up every run that was open when the agent stopped. Steps that were running are unknown: nobody saw them end. */
  async recover(): Promise<{ runs: number; interrupted: number }> {
    const { store, clock } = this.#options;
    const since = (wallMs: number) => store.sideEffects(wallMs);
    await this.#sideEffects.reread(since, clock.wall(), clock.trusted());
    return await this.#recovery.recover();
  }

  /** Resolves when another run may be opened: the back-pressure on triggers. */
  room(): Promise<void> {
    if (this.openRuns < this.#options.maxOpenRuns) return Promise.resolve();
    return new Promise((resolve) => this.#roomWaiters.push(resolve));
  }

  /** A run that is not durable yet. Throws `not_found`, and `invalid` with every problem of the parameters. */
  build(request: RunRequest): NewRun {
    return this.#builder.build(request);
  }

  /** Takes over runs that are committed. */
  admit(runs: NewRun[]): void {
    for (const made of runs) this.#keeper.add({ ...made, event: this.#builder.eventOf(made) });
  }

  /** A run that a person starts (`by`: `local:<uid>`). Resolves with its id when it is durable. */
  start(asked: { pipeline: string; params: Json; by: string }): Promise<string> {
    return this.#manual.start(asked);
  }

  /** Resolves when it is durable that the run is to end; it has ended when nothing of it runs any more. */
  cancel(runId: string, by: string, reason: string): Promise<void> {
    return this.#stops.cancel(runId, by, reason);
  }

  /** A person's word on an approval, or on a step whose outcome is unknown. */
  decide(runId: string, stepId: string, answer: Answer): Promise<void> {
    return this.#approvals.decide(runId, stepId, answer);
  }

  /** A new run like one that has ended. Resolves with its id when it is durable. */
  retry(runId: string, by: string): Promise<string> {
    return this.#manual.retry(runId, by);
  }

  /** A new run in place of a dead letter, with the letter's parameters. */
  retryDead(runId: string, by: string): Promise<string> {
    return this.#manual.retryDead(runId, by);
  }

  /** Steps that wait for a person. */
  asking(): { run: string; step: string; reason: string | null }[] {
    const asking: { run: string; step: string; reason: string | null }[] = [];
    for (const { run, steps } of this.#keeper.runs.values()) {
      for (const step of steps.values()) {
        if (isAsking(step)) asking.push({ run: run.id, step: step.stepId, reason: step.reason });
      }
    }
    return asking;
  }

  /** The open runs, the oldest first. */
  live(): RunSummary[] {
    const now = this.#options.clock.wall();
    return [...this.#keeper.runs.values()].map(({ run, steps, overdue }) => ({
      id: run.id,
      pipeline: run.pipeline,
      state: run.state,
      steps: [...steps.values()]
        .filter((step) => step.state === "running" || (step.state === "waiting" && step.waits !== "needs"))
        .map((step) => step.stepId),
      starter: run.starter,
      ageMs: Math.max(0, now - run.createdMs),
      priority: run.priority,
      overdue,
    }));
  }

  breakers(): { destination: string; state: BreakerState; failures: number }[] {
    return this.#breakers.list();
  }

  /** Gauges for metrics and health. */
  gauges() {
    const { keeper, sideEffects } = { keeper: this.#keeper, sideEffects: this.#sideEffects };
    const states: Record<string, number> = {};
    for (const { run } of keeper.runs.values()) states[run.state] = (states[run.state] ?? 0) + 1;
    return {
      states,
      runsWaiting: keeper.runPlaces.waiting,
      stepsWaiting: keeper.stepPlaces.waiting,
      stepsInFlight: keeper.stepPlaces.inFlight,
      locksWaiting: keeper.locks.waiting,
      sideEffects: { used: sideEffects.used(this.#options.clock.trusted()), cap: sideEffects.cap },
      circuitRefusals: this.#breakers.refused,
      failureRate: this.#ends.failureRate,
    };
  }

  /** Why the runs do not go well, for the health checks; null when they do. */
  problem(): string | null {
    return runProblem(this.openRuns, this.#options.maxOpenRuns, this.#ends.failureRate);
  }

  /** No new attempts; those under way get `graceMs` to end. What is left stays leased and is recovered as unknown. */
  async stop(graceMs: number): Promise<void> {
    this.#draining = true;
    this.#keeper.stop();
    this.#makeRoom();
    const cancel = this.#options.clock.after(graceMs, () => this.#kill());
    await this.#keeper.idle();
    cancel();
  }

  /** For all who wait: whoever comes first may turn out to start no run at all, and then nobody would call the next. */
  #makeRoom(): void {
    for (const resolve of this.#roomWaiters.splice(0)) resolve();
  }

  #kill(): void {
    this.#killing.abort();
    for (const { attempts } of this.#keeper.runs.values()) {
      for (const { controller } of attempts.values()) controller.abort();
    }
  }

  #mayStart(): void {
    if (this.#draining) {
      throw new HoldfastError("conflict", "the agent is stopping and starts no runs any more");
    }
    const { maxOpenRuns } = this.#options;
    if (this.openRuns < maxOpenRuns) return;
    this.counters.refused++;
    throw new HoldfastError(
      "busy",
      `the agent has ${this.openRuns} open runs, as many as limits.runs allows: wait until some have ended, or raise it`,
    );
  }

  #started({ run: { id, pipeline, rule } }: HeldRun): void {
    this.counters.started++;
    this.#options.log.debug("run started", { run: id, pipeline, rule });
  }

  #ended(held: HeldRun): void {
    const { id, pipeline, state, reason, parent, starter } = held.run;
    this.counters.ended[state] = (this.counters.ended[state] ?? 0) + 1;
    this.#ends.note(state);
    if (this.openRuns < this.#options.maxOpenRuns) this.#makeRoom();
    const fields = { run: id, pipeline, state, reason };
    if (state === "succeeded") this.#options.log.debug("run ended", fields);
    else this.#options.log.info("run ended", fields);
    const above =
      parent !== null && starter.kind === "parent" ? this.#keeper.runs.get(parent.run) : undefined;
    if (above) {
      const passOn = this.#children.ended(above, parent!.step, held.run);
      this.#keeper.track("a step whose child run has ended", above, passOn);
    }
  }

  #overdue(held: HeldRun): void {
    held.overdue = true;
    this.counters.overdue++;
    const { id, pipeline } = held.run;
    const steps = [...held.steps.values()]
      .filter((step) => step.state === "running")
      .map((step) => step.stepId);
    this.#options.log.warn("a run takes longer than warn_after", { run: id, pipeline, steps });
  }
}
