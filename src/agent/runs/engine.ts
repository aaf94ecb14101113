import { backoffDelay } from "../../core/backoff.ts";
import type { Clock } from "../../core/clock.ts";
import { HoldfastError, messageOf } from "../../core/errors.ts";
import type { Ids } from "../../core/ids.ts";
import type { Logger } from "../../core/logger.ts";
import type { CloudEvent } from "../../model/event.ts";
import { celValue } from "../../model/expression.ts";
import type { Json, JsonObject } from "../../model/json.ts";
import type { PipelineDefinition } from "../../model/pipeline.ts";
import { type NewRun, newRun } from "../../model/run-build.ts";
import { hasEnded, type OpenRun, type StepRow, stepKey } from "../../model/run.ts";
import type { AttemptOutcome } from "../../model/run-transitions.ts";
import { compileTemplate } from "../../model/template.ts";
import type { ActionPort, LiveRun, RunStorePort } from "./ports.ts";
import {
  boundOutput,
  type PlannedChange,
  planDecision,
  planLease,
  planOutcome,
  planUnstarted,
  stepDefinition,
  type Times,
} from "./run-change.ts";
import { RunQueue } from "./run-queue.ts";

export interface RunCounters {
  started: number;
  /** Ended runs by state. */
  ended: Record<string, number>;
  attempts: number;
  /** Attempts whose outcome is unknown. */
  unknown: number;
  /** Results that came with an old fence and were refused. */
  stale: number;
}

interface Options {
  store: RunStorePort;
  actions: ActionPort;
  pipelines: Map<string, PipelineDefinition>;
  agent: { id: string; labels: Record<string, string> };
  clock: Clock;
  ids: Ids;
  log: Logger;
  /** Steps that may run at once. */
  maxSteps: number;
  /** Bytes of JSON of a step's output that are kept. */
  maxOutputBytes: number;
  /** Open runs from which on triggers are held back. */
  maxOpenRuns: number;
}

const PERSIST_RETRY = { kind: "exponential", initialMs: 100, maxMs: 5_000 } as const;

/** Carries runs through their steps: lease, attempt, result, what follows. Each change is one durable transaction. */
export class RunEngine {
  readonly counters: RunCounters = { started: 0, ended: {}, attempts: 0, unknown: 0, stale: 0 };
  readonly #options: Options;
  readonly #live = new Map<string, LiveRun>();
  readonly #events = new WeakMap<NewRun, CloudEvent>();
  readonly #definitionHashes = new Map<string, string>();
  readonly #queue: RunQueue;
  readonly #attempts = new Set<Promise<void>>();
  readonly #stopping = new AbortController();
  readonly #killing = new AbortController();
  #roomWaiters: (() => void)[] = [];
  readonly #agentValue: unknown;

  constructor(options: Options) {
    this.#options = options;
    this.#agentValue = celValue(options.agent);
    this.#queue = new RunQueue({
      maxSteps: options.maxSteps,
      concurrency: (pipeline) => options.pipelines.get(pipeline)?.concurrency ?? 1,
      begin: (runId) => this.#begin(runId),
      execute: (runId, stepId) => this.#track(this.#execute(runId, stepId)),
    });
  }

  get openRuns(): number {
    return this.#live.size;
  }

  get stepsInFlight(): number {
    return this.#queue.inFlight;
  }

  /** Takes up every run that was open when the agent stopped. Steps that were running are unknown: nobody saw them end. */
  async recover(): Promise<{ runs: number; interrupted: number }> {
    const open = await this.#options.store.openRuns();
    let interrupted = 0;
    const settled: Promise<void>[] = [];
    for (const item of open) {
      const live = this.#adopt(item);
      this.#queue.add(live.run.id, live.run.pipeline, live.run.state !== "queued");
      for (const step of [...live.steps.values()].filter((row) => row.state === "running")) {
        interrupted++;
        const message = `the agent stopped during attempt ${step.attempts}`;
        const error = { code: "interrupted", message, retryable: true, started: true };
        settled.push(this.#settle(live, step, { kind: "unknown", error }));
      }
    }
    await Promise.all(settled);
    return { runs: open.length, interrupted };
  }

  /** Resolves when another run may be opened. */
  room(): Promise<void> {
    if (this.#live.size < this.#options.maxOpenRuns) return Promise.resolve();
    return new Promise((resolve) => this.#roomWaiters.push(resolve));
  }

  build(pipeline: string, rule: string | null, event: CloudEvent | null, params: Json): NewRun {
    const definition = this.#options.pipelines.get(pipeline);
    if (!definition) throw new HoldfastError("not_found", `there is no pipeline ${pipeline}`);
    const made = newRun({
      id: this.#options.ids.next(),
      definition,
      definitionHash: this.#hash(definition),
      rule,
      event: event === null ? null : { source: event.source, id: event.id },
      params,
      createdMs: this.#options.clock.wall(),
    });
    if (event !== null) this.#events.set(made, event);
    return made;
  }

  admit(runs: NewRun[]): void {
    for (const made of runs) {
      this.counters.started++;
      this.#adopt({ ...made, event: this.#events.get(made) ?? null });
      this.#queue.add(made.run.id, made.run.pipeline, false);
      this.#options.log.info("run started", {
        run: made.run.id,
        pipeline: made.run.pipeline,
        rule: made.run.rule,
      });
    }
  }

  /** A person's word on a step that waits because its outcome is unknown. */
  async decide(runId: string, stepId: string, again: boolean, by: string): Promise<void> {
    const live = this.#live.get(runId);
    const step = live?.steps.get(stepId);
    if (!live || !step)
      throw new HoldfastError("not_found", `there is no open run ${runId} with a step ${stepId}`);
    if (step.state !== "waiting" || step.attempts === 0) {
      throw new HoldfastError(
        "conflict",
        `step ${stepId} of run ${runId} is ${step.state}: it does not ask for a decision`,
      );
    }
    await this.#change(live, () => planDecision(live, live.steps.get(stepId)!, again, by, this.#now()));
  }

  /** Steps that wait for a person. */
  asking(): { run: string; step: string; reason: string | null }[] {
    return [...this.#live.values()].flatMap((live) =>
      [...live.steps.values()]
        .filter((step) => step.state === "waiting" && step.attempts > 0)
        .map((step) => ({ run: live.run.id, step: step.stepId, reason: step.reason })),
    );
  }

  /** No new attempts; those under way get `graceMs` to end. What is left stays leased and is recovered as unknown. */
  async stop(graceMs: number): Promise<void> {
    this.#stopping.abort();
    this.#queue.stop();
    for (const resolve of this.#roomWaiters.splice(0)) resolve();
    const cancel = this.#options.clock.after(graceMs, () => this.#killing.abort());
    await Promise.all(this.#attempts);
    cancel();
  }

  #track(work: Promise<void>): Promise<void> {
    const guarded = work.catch((error: unknown) => {
      if (!this.#stopping.signal.aborted)
        this.#options.log.error("a step could not go on", { error: messageOf(error) });
    });
    this.#attempts.add(guarded);
    return guarded.finally(() => this.#attempts.delete(guarded));
  }

  #adopt(open: Omit<OpenRun, "steps"> & { steps: StepRow[] }): LiveRun {
    const steps = new Map(open.steps.map((step) => [step.stepId, step]));
    const live: LiveRun = {
      run: open.run,
      steps,
      definition: open.definition,
      event: open.event,
      tail: Promise.resolve(),
    };
    this.#live.set(open.run.id, live);
    return live;
  }

  /** The run may use a place of its pipeline: its queued steps can go. */
  #begin(runId: string): void {
    const live = this.#live.get(runId);
    for (const step of live?.steps.values() ?? []) if (step.state === "queued") this.#enqueue(step);
  }

  #enqueue(step: StepRow): void {
    const wait = step.notBeforeMs - this.#options.clock.trusted();
    if (wait <= 0) return this.#queue.ready(step.runId, step.stepId);
    const cancel = this.#options.clock.after(wait, () => this.#queue.ready(step.runId, step.stepId));
    this.#stopping.signal.addEventListener("abort", cancel, { once: true });
  }

  async #execute(runId: string, stepId: string): Promise<void> {
    const live = this.#live.get(runId);
    const step = live?.steps.get(stepId);
    if (!live || step?.state !== "queued") return;
    const definition = stepDefinition(live, stepId);
    let input: JsonObject;
    try {
      input = compileTemplate(definition.with).resolve(this.#context(live)) as JsonObject;
    } catch (error) {
      return await this.#change(live, () =>
        planUnstarted(live, live.steps.get(stepId)!, messageOf(error), this.#now()),
      );
    }
    if (!(await this.#change(live, () => planLease(live, live.steps.get(stepId)!, this.#now()), true)))
      return;
    const leased = live.steps.get(stepId)!;
    this.counters.attempts++;
    const outcome = await this.#options.actions.invoke(
      {
        action: definition.action,
        input,
        key: stepKey(runId, stepId),
        run: runId,
        step: stepId,
        attempt: leased.attempts,
        timeoutMs: definition.timeoutMs,
      },
      this.#killing.signal,
    );
    // Cut off by our own stop: the lease stays, and the next start finds the attempt as unknown.
    if (outcome.kind === "unknown" && this.#killing.signal.aborted) return;
    await this.#settle(live, leased, outcome);
  }

  async #settle(live: LiveRun, leased: StepRow, outcome: AttemptOutcome): Promise<void> {
    if (outcome.kind === "unknown") this.counters.unknown++;
    const bounded: AttemptOutcome =
      outcome.kind === "ok"
        ? { kind: "ok", output: boundOutput(outcome.output, this.#options.maxOutputBytes) }
        : outcome;
    const plan = () => planOutcome(live, leased, bounded, this.#now(), this.#options.ids.random);
    await this.#change(live, plan);
  }

  /** Runs one change of a run after those before it: plan on the rows as they are, commit, then go on from the result. */
  #change(live: LiveRun, plan: () => PlannedChange): Promise<void>;
  #change(live: LiveRun, plan: () => PlannedChange, tell: true): Promise<boolean>;
  async #change(live: LiveRun, plan: () => PlannedChange, tell = false): Promise<boolean | void> {
    const turn = live.tail.then(async () => {
      const planned = plan();
      if (!(await this.#persist(planned))) {
        this.counters.stale++;
        this.#options.log.warn("a result came too late and was refused", {
          run: live.run.id,
          fence: planned.change.guards[0]?.fence,
        });
        return false;
      }
      this.#apply(live, planned);
      return true;
    });
    live.tail = turn.then(
      () => {},
      () => {},
    );
    const done = await turn;
    return tell ? done : undefined;
  }

  /** A result is never given up for a full disk or a slow one: it is tried until it is durable or the agent stops. */
  async #persist(planned: PlannedChange): Promise<boolean> {
    for (let failures = 0; ;) {
      try {
        return await this.#options.store.changeRun(planned.change);
      } catch (error) {
        if (this.#killing.signal.aborted) throw error;
        failures++;
        this.#options.log.error("a run's change could not be stored; it will be tried again", {
          run: planned.change.runId,
          error: messageOf(error),
          failures,
        });
        await this.#options.clock.sleep(
          backoffDelay(PERSIST_RETRY, failures, this.#options.ids.random),
          this.#killing.signal,
        );
      }
    }
  }

  #apply(live: LiveRun, planned: PlannedChange): void {
    live.run = planned.run;
    for (const step of planned.steps) live.steps.set(step.stepId, step);
    if (hasEnded(live.run.state)) {
      const { id, pipeline, state, reason } = live.run;
      this.counters.ended[state] = (this.counters.ended[state] ?? 0) + 1;
      this.#live.delete(id);
      this.#queue.remove(id, pipeline);
      this.#roomWaiters.shift()?.();
      this.#options.log.info("run ended", { run: id, pipeline, state, reason });
      return;
    }
    if (this.#queue.hasBegun(live.run.id)) for (const step of planned.queued) this.#enqueue(step);
  }

  #context(live: LiveRun): Record<string, unknown> {
    const rows = [...live.steps.values()];
    const steps = Object.fromEntries(
      rows
        .filter((step) => hasEnded(step.state))
        .map((step) => [step.stepId, { state: step.state, output: celValue(step.output) }]),
    );
    const failed = rows.find(
      (step) =>
        step.part === "steps" && hasEnded(step.state) && step.error !== null && step.state !== "succeeded",
    );
    const failure = failed && {
      step: failed.stepId,
      state: failed.state,
      message: failed.error!.message,
      code: failed.error!.code,
    };
    return {
      event: celValue(live.event),
      agent: this.#agentValue,
      params: celValue(live.run.params),
      steps,
      ...(failure ? { failure } : {}),
    };
  }

  #hash(definition: PipelineDefinition): string {
    let hash = this.#definitionHashes.get(definition.name);
    if (hash === undefined) {
      hash = new Bun.CryptoHasher("sha256").update(JSON.stringify(definition)).digest("hex");
      this.#definitionHashes.set(definition.name, hash);
    }
    return hash;
  }

  #now(): Times {
    return { wallMs: this.#options.clock.wall(), trustedMs: this.#options.clock.trusted() };
  }
}
