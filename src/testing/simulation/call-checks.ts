import type { ActionCall } from "../../agent/runs/ports.ts";
import type { Effect, PipelineDefinition, StepDefinition } from "../../model/pipeline.ts";
import { hasEnded } from "../../model/run.ts";
import type { DurableRun, DurableStep } from "./durable-rows.ts";
import type { Incarnation } from "./incarnation.ts";
import type { Observer } from "./observer.ts";
import type { Story } from "./story.ts";
import type { WorkLedger } from "./work-ledger.ts";

interface Options {
  observer: Observer;
  ledger: WorkLedger;
  story: Story;
  pipelines: Map<string, PipelineDefinition>;
  maxSteps: number;
  maxSideEffects: number;
  clock: Incarnation;
}

/** For a lease to be durable on a disk that is not slow. */
const LEASE_MS = 1000;
const HOUR_MS = 3_600_000;

/** What must hold when a worker is told to do something, by what is durable at this moment and what was done before. */
export class CallChecks {
  readonly #options: Options;

  constructor(options: Options) {
    this.#options = options;
  }

  called(call: ActionCall): void {
    const { observer } = this.#options;
    const run = observer.runs.get(call.run);
    const step = run?.steps.get(call.step);
    if (!run || step?.state !== "running" || step.attempts !== call.attempt || hasEnded(run.row.state)) {
      return this.#fail(
        "lease before work",
        `attempt ${call.attempt} of ${call.key} was called, durable is ${step?.state}, attempt ${step?.attempts}`,
      );
    }
    if (run.row.stop !== null && step.part === "steps")
      this.#fail("a stop stops", `${call.key} begins after the stop of its run is durable`);
    const definition = definitionOf(this.#options.pipelines.get(run.row.pipeline)!, step);
    this.#checkRepeats(call, definition.effect);
    this.#checkPlaces(call, step, definition);
    this.#checkSideEffects(run.row, step);
    this.#checkLocks(run.row, step, definition);
  }

  #checkRepeats({ key, attempt }: ActionCall, effect: Effect): void {
    if (effect === "idempotent") return;
    const { ledger } = this.#options;
    const allowed = effect === "ask" ? (ledger.allowed.get(key) ?? 0) : 0;
    if (ledger.performed(key) > allowed)
      this.#fail("at most once", `attempt ${attempt} of ${key} (${effect}) does again what was done`);
  }

  #checkPlaces({ run, step: id }: ActionCall, step: DurableStep, { foreach }: StepDefinition): void {
    const running = this.#options.ledger.running();
    if (running.length >= this.#options.maxSteps)
      this.#fail("caps", `${id} of ${run} is called beside ${running.length} others`);
    const of = step.extra?.foreach?.step;
    if (of === undefined || foreach === null || step.part !== "steps") return;
    const isItem = (other: string) => other.startsWith(`${of}[`) && other.endsWith("]");
    const beside = running.filter((other) => other.run === run && isItem(other.step)).length;
    if (beside >= foreach.concurrency)
      this.#fail("caps", `item ${id} of ${run} runs beside ${beside} others of its foreach`);
  }

  /** Attempts of an hour by runs that rules start; what takes back, cleans up and tells counts, but is not held back. */
  #checkSideEffects({ id, rule, starter, pipeline }: DurableRun, { step, part }: DurableStep): void {
    if (rule === null || starter === "retry") return;
    const { ledger, clock, maxSideEffects, pipelines } = this.#options;
    const own = pipelines.get(pipeline)!.sideEffectsPerHour ?? Infinity;
    const now = clock.trusted();
    const exempt = part !== "steps";
    // The agent decides as it makes the lease. One that it does not hold back may be leased later and be called first.
    const overtook = (each: { atMs: number; exempt: boolean }) => each.exempt && now - each.atMs < LEASE_MS;
    const before = ledger.sideEffects.filter((each) => now - each.atMs < HOUR_MS && !overtook(each));
    const beforeOwn = before.filter((each) => each.pipeline === pipeline).length;
    ledger.sideEffects.push({ atMs: now, pipeline, exempt });
    if (exempt) return;
    if (before.length >= maxSideEffects || beforeOwn >= own)
      this.#fail("caps", `${step} of ${id} follows ${before.length} (${beforeOwn}) side effects of an hour`);
  }

  #checkLocks(run: DurableRun, step: DurableStep, definition: StepDefinition): void {
    const pipeline = this.#options.pipelines.get(run.pipeline)!;
    for (const exclusive of [pipeline.exclusive, definition.exclusive]) {
      if (exclusive === null) continue;
      const lock = exclusive.lock.startsWith("${{") ? String(run.params?.k) : exclusive.lock;
      this.#inside(run, step, pipeline.namespace, lock);
    }
  }

  #inside(run: DurableRun, { step }: DurableStep, namespace: string, lock: string): void {
    const { observer, ledger } = this.#options;
    const holder = observer.locks.find((place) => place.namespace === namespace && place.lock === lock);
    if (holder?.run !== run.id)
      this.#fail("locks exclusive", `${step} of ${run.id} is inside ${lock}, which ${holder?.run} holds`);
    const name = `${namespace}/${lock}`;
    const before = ledger.inside.get(name);
    ledger.inside.set(name, run.id);
    if (before === undefined || before === run.id) return;
    const other = observer.runs.get(before);
    if (other && !hasEnded(other.row.state))
      this.#fail("locks exclusive", `${run.id} is inside ${lock} while ${before} has not ended`);
  }

  #fail(invariant: string, what: string): void {
    this.#options.story.fail(invariant, what);
  }
}

/** What a durable row executes, told apart from its id and origin alone. */
export function definitionOf(pipeline: PipelineDefinition, step: DurableStep): StepDefinition {
  const { extra } = step;
  if (extra?.definition) return extra.definition;
  const id = extra?.foreach?.step ?? extra?.undoes ?? step.step;
  const declared = [...pipeline.steps, ...pipeline.finally, ...pipeline.onFailure].find(
    (each) => each.id === id,
  )!;
  if (extra?.undoes === undefined) return declared;
  return { ...declared, ...declared.undo!, exclusive: null, foreach: null };
}
