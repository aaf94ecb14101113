import { HoldfastError } from "../../core/errors.ts";
import type { Json } from "../../model/json.ts";
import type { NewRun } from "../../model/run-build.ts";
import type { BreakerState } from "../../model/breaker.ts";
import type { Answer } from "./approvals.ts";
import type { EngineOptions, RunCounters } from "./engine-options.ts";
import { createParts, type EngineParts } from "./engine-wiring.ts";
import type { HeldRun } from "./held-run.ts";
import { ManualRuns } from "./manual-runs.ts";
import type { RunRequest } from "./run-builder.ts";
import { RecentEnds, runProblem } from "./run-health.ts";
import type { RunKeeper } from "./run-keeper.ts";
import { hourBefore, MINUTE_MS } from "./side-effects.ts";
import { countStates, type Question, questions, type RunSummary, summaryOf } from "./run-views.ts";

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
  readonly #parts: EngineParts;
  readonly #manual: ManualRuns;
  readonly #ends = new RecentEnds();
  readonly #killing = new AbortController();
  readonly #roomWaiters: (() => void)[] = [];
  #draining = false;

  constructor(options: EngineOptions) {
    this.#options = options;
    this.#parts = createParts(options, this.counters, this.#killing.signal, {
      started: (held) => this.#started(held),
      ended: (held) => this.#ended(held),
      overdue: (held) => this.#overdue(held),
    });
    this.#keeper = this.#parts.keeper;
    this.#manual = new ManualRuns({
      store: options.store,
      builder: this.#parts.builder,
      admit: (runs) => this.admit(runs),
      mayStart: () => this.#mayStart(),
    });
    options.brake?.onChange((on) => {
      if (on) this.#keeper.holdBackWaiting();
      else this.#parts.heldBack.release();
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
    const counted = await store.sideEffects(hourBefore(clock.trusted()));
    // What was counted was counted in trusted time: it has been that late already.
    clock.trust(Math.max(0, ...counted.map(({ minute }) => minute)) * MINUTE_MS);
    this.#parts.sideEffects.load(counted);
    return await this.#parts.recovery.recover();
  }

  /** Resolves when another run may be opened: the back-pressure on triggers. */
  room(): Promise<void> {
    if (this.openRuns < this.#options.maxOpenRuns) return Promise.resolve();
    return new Promise((resolve) => this.#roomWaiters.push(resolve));
  }

  /** A run that is not durable yet. Throws `not_found`, and `invalid` with every problem of the parameters. */
  build(request: RunRequest): NewRun {
    return this.#parts.builder.build(request);
  }

  /** The run with its first lease, where that may be had now; else as it is. To be admitted or dropped. Does not throw. */
  lease(made: NewRun): NewRun {
    return this.#parts.firstLeases.lease(made);
  }

  /** Takes over runs that are committed. */
  admit(runs: NewRun[]): void {
    const { builder, firstLeases } = this.#parts;
    for (const made of runs) {
      if (!firstLeases.admit(made)) this.#keeper.add({ ...made, event: builder.eventOf(made) });
    }
  }

  /** Runs that did not come into being: what `lease` held for them is free. */
  drop(runs: NewRun[]): void {
    for (const made of runs) this.#parts.firstLeases.drop(made);
  }

  /** A run that a person starts (`by`: `local:<uid>`). Resolves with its id when it is durable. */
  start(asked: { pipeline: string; params: Json; by: string }): Promise<string> {
    return this.#manual.start(asked);
  }

  /** Resolves when it is durable that the run is to end; it has ended when nothing of it runs any more. */
  cancel(runId: string, by: string, reason: string): Promise<void> {
    return this.#parts.stops.cancel(runId, by, reason);
  }

  /** A person's word on an approval, or on a step whose outcome is unknown. */
  decide(runId: string, stepId: string, answer: Answer): Promise<void> {
    return this.#parts.approvals.decide(runId, stepId, answer);
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
  asking(): Question[] {
    return questions(this.#keeper.runs.values());
  }

  /** The open runs, the oldest first. */
  live(): RunSummary[] {
    const now = this.#options.clock.wall();
    const { heldBack } = this.#parts;
    return [...this.#keeper.runs.values()].map((held) =>
      summaryOf(held, now, heldBack.of(held.run.id)?.reason ?? null),
    );
  }

  /** What of a run the brake holds back, and why; null when nothing is. `whole`: it has not begun. */
  heldBack(runId: string): { reason: string; whole: boolean; steps: string[] } | null {
    return this.#parts.heldBack.of(runId);
  }

  /** Locks that runs wait for, and who holds them. */
  locks(): { lock: string; holder: string; waiting: number }[] {
    return this.#keeper.locks.contended();
  }

  breakers(): { destination: string; state: BreakerState; failures: number }[] {
    return this.#parts.breakers.list();
  }

  /** Gauges for metrics and health. */
  gauges() {
    const keeper = this.#keeper;
    const sideEffects = this.#parts.sideEffects;
    return {
      states: countStates(keeper.runs.values()),
      runsWaiting: keeper.runPlaces.waiting,
      stepsWaiting: keeper.stepPlaces.waiting,
      stepsInFlight: keeper.stepPlaces.inFlight,
      locksWaiting: keeper.locks.waiting,
      sideEffects: { used: sideEffects.used(this.#options.clock.trusted()), cap: sideEffects.cap },
      heldBack: { runs: this.#parts.heldBack.runs, steps: this.#parts.heldBack.steps },
      circuitRefusals: this.#parts.breakers.refused,
      failureRate: this.#ends.failureRate,
    };
  }

  /** Why the runs do not go well, for the health checks; null when they do. */
  problem(): string | null {
    const { sideEffects, breakers } = this.#parts;
    const now = this.#options.clock.trusted();
    return runProblem({
      openRuns: this.openRuns,
      maxOpenRuns: this.#options.maxOpenRuns,
      failureRate: this.#ends.failureRate,
      circuits: breakers.news(now),
      capped: sideEffects.news(now),
    });
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
    // What the brake holds back must not keep people out.
    if (this.openRuns - this.#parts.heldBack.runs < maxOpenRuns) return;
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
    this.#parts.heldBack.forget(id);
    if (this.openRuns < this.#options.maxOpenRuns) this.#makeRoom();
    const fields = { run: id, pipeline, state, reason };
    if (state === "succeeded") this.#options.log.debug("run ended", fields);
    else this.#options.log.info("run ended", fields);
    const above =
      parent !== null && starter.kind === "parent" ? this.#keeper.runs.get(parent.run) : undefined;
    if (above) {
      const passOn = this.#parts.children.ended(above, parent!.step, held.run);
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
