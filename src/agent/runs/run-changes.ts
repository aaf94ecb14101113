import { backoffDelay } from "../../core/backoff.ts";
import type { Clock } from "../../core/clock.ts";
import { HoldfastError, messageOf } from "../../core/errors.ts";
import type { Ids } from "../../core/ids.ts";
import type { Logger } from "../../core/logger.ts";
import type { JsonObject } from "../../model/json.ts";
import type { PipelineDefinition } from "../../model/pipeline.ts";
import { hasEnded, type StepRow } from "../../model/run.ts";
import type { HeldRun } from "./held-run.ts";
import type { PlannedChange, Times } from "./plan.ts";
import { planOutput } from "./plan-stop.ts";
import type { RunChange } from "./ports.ts";
import { type Resolve, resolver, type StepInputs } from "./step-input.ts";

interface Options {
  store: { changeRun(change: RunChange): Promise<boolean> };
  inputs: StepInputs;
  /** `stale`: changes that the store refused because somebody else had moved on. */
  counters: { stale: number };
  clock: Clock;
  ids: Ids;
  log: Logger;
  /** Aborted when the agent gives up what is under way. */
  killing: AbortSignal;
  /** Called at once when a change is durable, in the order of the commits, before the next change of the run. */
  done: (held: HeldRun, planned: PlannedChange) => void;
}

const PERSIST_RETRY = { kind: "exponential", initialMs: 100, maxMs: 5_000 } as const;

/** Changes of runs: of one run one after the other, each planned on the rows as they are, and durable before it counts. */
export class RunChanges {
  readonly #options: Options;
  readonly #outputs = new WeakMap<PipelineDefinition, Resolve<JsonObject>>();
  constructor(options: Options) {
    this.#options = options;
  }

  /**
   * `plan` gives null when there is nothing left to do. Resolves with what was done, or null. Throws what `plan` throws,
   * and when the agent gives up before the change is durable. `stillWanted` is asked before what the store has refused is
   * sent to it again; when it is not, nothing was done.
   */
  async change(
    held: HeldRun,
    plan: (now: Times) => PlannedChange | null,
    stillWanted: () => boolean = () => true,
  ): Promise<PlannedChange | null> {
    if (held.changing) await new Promise<void>((resolve) => held.turns.push(resolve));
    held.changing = true;
    try {
      if (hasEnded(held.run.state)) return null;
      const now = this.now();
      let planned = plan(now);
      if (planned === null) return null;
      if (planned.run.state === "succeeded" && held.definition.output !== null) {
        planned = this.#withOutput(held, planned, now);
      }
      const kept = await this.#persist(planned.change, stillWanted);
      if (kept === null) return null;
      if (!kept) {
        this.#options.counters.stale++;
        const fence = planned.change.guards[0]?.fence;
        this.#options.log.warn("a change of a run came too late and was refused", {
          run: held.run.id,
          fence,
        });
        return null;
      }
      this.#options.done(held, planned);
      return planned;
    } finally {
      const next = held.turns.shift();
      if (next === undefined) held.changing = false;
      else next();
    }
  }

  /** A change of a queued step as it is by then; null when it has moved on. */
  ofStep(
    held: HeldRun,
    { stepId, fence }: StepRow,
    plan: (live: HeldRun, row: StepRow, now: Times) => PlannedChange | null,
    stillWanted?: () => boolean,
  ): Promise<PlannedChange | null> {
    const planStep = (now: Times) => {
      const row = held.steps.get(stepId);
      return row?.state === "queued" && row.fence === fence ? plan(held, row, now) : null;
    };
    return this.change(held, planStep, stillWanted);
  }

  now(): Times {
    return { wallMs: this.#options.clock.wall(), trustedMs: this.#options.clock.trusted() };
  }

  /**
   * A result is never given up for a full disk or a slow one: it is tried until it is durable or the agent stops. Null:
   * it is not wanted any more.
   */
  async #persist(change: RunChange, stillWanted: () => boolean): Promise<boolean | null> {
    const { store, killing, clock, ids, log } = this.#options;
    for (let failures = 0; ;) {
      try {
        return await store.changeRun(change);
      } catch (error) {
        // To wait would bring back no run that the store does not have.
        if (error instanceof HoldfastError && error.code === "not_found") throw error;
        if (killing.aborted) throw gaveUp(change.runId, error);
        failures++;
        log.error("a run's change could not be stored; it will be tried again", {
          run: change.runId,
          error: messageOf(error),
          failures,
        });
        // An agent that stops meanwhile tells what the store said, not that a wait was broken off.
        await clock.sleep(backoffDelay(PERSIST_RETRY, failures, ids.random), killing).catch(() => {
          throw gaveUp(change.runId, error);
        });
        if (!stillWanted()) return null;
      }
    }
  }

  #withOutput(held: HeldRun, planned: PlannedChange, now: Times): PlannedChange {
    const steps = new Map(held.steps);
    for (const step of planned.steps) steps.set(step.stepId, step);
    try {
      let resolve = this.#outputs.get(held.definition);
      if (!resolve) {
        resolve = resolver(held.definition.output, "output") as Resolve<JsonObject>;
        this.#outputs.set(held.definition, resolve);
      }
      const after = { ...held, run: planned.run, steps, values: null };
      const value = resolve(() => this.#options.inputs.context(after, null));
      return planOutput(planned, held, { value }, now);
    } catch (error) {
      return planOutput(planned, held, { problem: messageOf(error) }, now);
    }
  }
}

function gaveUp(runId: string, cause: unknown): HoldfastError {
  const message = `the agent stopped before a change of run ${runId} could be stored: ${messageOf(cause)}`;
  return new HoldfastError("cancelled", message, { cause });
}
