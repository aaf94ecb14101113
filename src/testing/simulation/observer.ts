import type { PipelineDefinition } from "../../model/pipeline.ts";
import { hasEnded, STEP_PARTS } from "../../model/run.ts";
import { mayMoveRun, mayMoveStep, stepPlace } from "../../model/run-transitions.ts";
import { type DurableAttempt, type DurableRun, DurableRows, type DurableStep } from "./durable-rows.ts";
import type { EventLedger } from "./event-ledger.ts";
import type { Story } from "./story.ts";

export interface ObservedRun {
  row: DurableRun;
  steps: Map<string, DurableStep>;
  /** Of a run that has ended. */
  attempts: DurableAttempt[];
  /** Nobody saw how it ended. */
  gone: boolean;
}

interface Options {
  path: string;
  pipelines: Map<string, PipelineDefinition>;
  events: EventLedger;
  story: Story;
  /** History is let go of at once: an end may be gone before it is seen. */
  trims: boolean;
  /** An attempt has begun. */
  leased: (run: ObservedRun, step: string, runs: Map<string, ObservedRun>) => void;
}

/**
 * Sees every commit, right after it happened and before anybody is told of it, and compares it with the one before: no
 * change but those of the tables, caps, order of parts, locks, events and checkpoints.
 */
export class Observer {
  readonly runs = new Map<string, ObservedRun>();
  readonly #options: Options;
  readonly #rows: DurableRows;
  readonly #byNumber = new Map<number, ObservedRun>();
  readonly #open = new Set<number>();
  #lastRun = 0;
  #lastEvent = 0;
  locks: { namespace: string; lock: string; run: string }[] = [];
  checkpoints = new Map<string, number>();

  constructor(options: Options) {
    this.#options = options;
    this.#rows = new DurableRows(options.path);
  }

  openRuns(): ObservedRun[] {
    return [...this.#open].map((n) => this.#byNumber.get(n)!);
  }

  letters(): Set<string> {
    return this.#rows.deadLetters();
  }

  close(): void {
    this.#rows.close();
  }

  /** To be called after everything that may have committed. */
  look(): void {
    if (!this.#rows.changed()) return;
    this.#lookAtEvents();
    this.locks = this.#rows.lockPlaces();
    this.#lookAtRuns();
    this.#lookAtCaps();
  }

  #lookAtEvents(): void {
    const { events } = this.#options;
    for (const { n, event } of this.#rows.events(this.#lastEvent)) {
      this.#lastEvent = n;
      events.committed(n, event);
    }
    const checkpoints = this.#rows.checkpoints();
    for (const [trigger, position] of checkpoints) {
      if (this.checkpoints.get(trigger) !== position) events.moved(trigger, position);
    }
    this.checkpoints = checkpoints;
  }

  #lookAtRuns(): void {
    const before = [...this.#open];
    const rows = this.#rows.runs(before, this.#lastRun);
    const steps = this.#rows.steps(
      rows.map(({ n }) => n),
      (run, step) => this.#byNumber.get(run)?.steps.get(step),
    );
    const seen = new Set<number>();
    let letters: Set<string> | null = null;
    for (const row of rows) {
      seen.add(row.n);
      this.#lastRun = Math.max(this.#lastRun, row.n);
      const run = this.#follow(row, steps.get(row.n) ?? []);
      if (hasEnded(row.state)) {
        letters ??= this.#rows.deadLetters();
        this.#ended(run, letters.has(row.id));
      } else this.#open.add(row.n);
    }
    for (const n of before) {
      if (!seen.has(n)) this.#gone(n);
    }
  }

  #gone(n: number): void {
    this.#open.delete(n);
    const run = this.#byNumber.get(n)!;
    run.gone = true;
    if (!this.#options.trims) this.#fail("no run lost", `run ${run.row.id} is gone`);
  }

  #follow(row: DurableRun, steps: DurableStep[]): ObservedRun {
    const known = this.#byNumber.get(row.n);
    if (!known) {
      if (this.runs.has(row.id)) this.#fail("no run doubled", `run ${row.id} is there twice`);
      const made: ObservedRun = { row, steps: new Map(), attempts: [], gone: false };
      for (const step of steps) made.steps.set(step.step, step);
      this.#byNumber.set(row.n, made);
      this.runs.set(row.id, made);
      this.#note(row, steps);
      for (const step of steps) if (step.attempts > 0) this.#options.leased(made, step.step, this.runs);
      return made;
    }
    if (row.state !== known.row.state && !mayMoveRun(known.row.state, row.state)) {
      this.#fail("states by the table", `run ${row.id}: ${known.row.state} → ${row.state}`);
    }
    if (known.row.stop !== null && row.stop === null)
      this.#fail("states by the table", `the stop of run ${row.id} is gone`);
    this.#followSteps(known, steps);
    if (row.state !== known.row.state) this.#note(row, []);
    known.row = row;
    return known;
  }

  #followSteps(run: ObservedRun, steps: DurableStep[]): void {
    if (steps.length === run.steps.size && steps.every((step) => run.steps.get(step.step) === step)) return;
    const after = new Map(steps.map((step) => [step.step, step]));
    for (const [id, step] of run.steps) {
      if (!after.has(id)) this.#removed(run, step);
    }
    const changed: DurableStep[] = [];
    for (const step of steps) {
      const known = run.steps.get(step.step);
      if (known === step) continue;
      const begins = known?.fence !== step.fence;
      if (known) this.#moved(run, known, step);
      if (step.attempts > (known?.attempts ?? 0)) this.#options.leased(run, step.step, this.runs);
      if (begins || known?.state !== step.state || known.waits !== step.waits) changed.push(step);
    }
    run.steps = after;
    for (const step of changed) if (step.state === "running") this.#begun(run, step);
    if (changed.length > 0) this.#note(run.row, changed);
  }

  #moved(run: ObservedRun, from: DurableStep, to: DurableStep): void {
    const places = `${stepPlace(from)} → ${stepPlace(to)}`;
    const name = `step ${to.step} of ${run.row.id}`;
    if (places !== `${stepPlace(from)} → ${stepPlace(from)}` && !mayMoveStep(stepPlace(from), stepPlace(to)))
      this.#fail("states by the table", `${name}: ${places}`);
    if (to.fence < from.fence || to.attempts < from.attempts)
      this.#fail("states by the table", `${name}: fence ${from.fence} → ${to.fence}`);
    if (to.state === "running" && from.state !== "running" && to.fence === from.fence)
      this.#fail("states by the table", `${name}: a lease without a new fence`);
  }

  #removed(run: ObservedRun, step: DurableStep): void {
    if (step.waits === "needs" && step.attempts === 0 && step.extra?.addedBy !== undefined) return;
    this.#fail("states by the table", `step ${step.step} of ${run.row.id}, ${step.state}, is gone`);
  }

  /** Parts come one after the other; what a step needs is there; a stopped run begins nothing more of its steps. */
  #begun(run: ObservedRun, step: DurableStep): void {
    const part = STEP_PARTS.indexOf(step.part);
    const name = `step ${step.step} (${step.part}) of ${run.row.id}`;
    for (const other of run.steps.values()) {
      if (other === step || hasEnded(other.state)) continue;
      if (STEP_PARTS.indexOf(other.part) < part)
        this.#fail("parts in order", `${name} begins before ${other.step} (${other.part}) has ended`);
      if (other.part === step.part && part > 0 && other.state === "running")
        this.#fail("parts in order", `${name} runs beside ${other.step}`);
      if (other.part === step.part && part > 0 && comesBefore(run, other, step))
        this.#fail("parts in order", `${name} begins before ${other.step}`);
    }
    if (step.part !== "steps" || step.extra?.foreach) return;
    const declared = this.#options.pipelines.get(run.row.pipeline)?.steps.find(({ id }) => id === step.step);
    for (const need of declared?.needs ?? []) {
      const needed = run.steps.get(need);
      const met =
        needed?.state === "succeeded" || (needed?.state === "skipped" && needed.extra?.skip === "when");
      if (!met) this.#fail("needs first", `${name} begins while ${need} is ${needed?.state}`);
    }
  }

  #ended(run: ObservedRun, letter: boolean): void {
    const { row } = run;
    this.#open.delete(row.n);
    run.attempts = this.#rows.attempts(row.n);
    for (const step of run.steps.values()) {
      if (!hasEnded(step.state))
        this.#fail(
          "states by the table",
          `run ${row.id} is ${row.state}, its step ${step.step} ${step.state}`,
        );
    }
    if (this.locks.some((place) => place.run === row.id))
      this.#fail("locks freed", `run ${row.id} is ${row.state} and keeps its place at a lock`);
    const badly = (row.state === "failed" || row.state === "timed_out") && row.starter !== "parent";
    if (badly !== letter && !(badly && this.#options.trims))
      this.#fail("dead letters", `run ${row.id} is ${row.state}, letter: ${letter ? "yes" : "no"}`);
    if (row.state === "succeeded") this.#undoneInVain(run);
  }

  #undoneInVain(run: ObservedRun): void {
    for (const step of run.steps.values()) {
      if ((step.part === "undo" || step.part === "on_failure") && step.state !== "skipped")
        this.#fail("parts in order", `run ${run.row.id} succeeded, and ${step.step} of ${step.part} ran`);
    }
  }

  #lookAtCaps(): void {
    const running = this.openRuns().filter(({ row }) => row.state === "running");
    for (const [name, { concurrency, concurrencyByKey }] of this.#options.pipelines) {
      const own = running.filter(({ row }) => row.pipeline === name);
      if (own.length > concurrency)
        this.#fail("caps", `${own.length} runs of ${name}, concurrency is ${concurrency}`);
      if (concurrencyByKey === null) continue;
      for (const key of new Set(own.map(({ row }) => row.key))) {
        const same = own.filter(({ row }) => row.key === key).length;
        if (same > concurrencyByKey.limit) this.#fail("caps", `${same} runs of ${name} with the key ${key}`);
      }
    }
  }

  #note(row: DurableRun, steps: DurableStep[]): void {
    const told = steps.map(
      ({ step, state, waits, fence }) => `${step}=${state}${waits === null ? "" : `:${waits}`}/${fence}`,
    );
    this.#options.story.note(`${row.id} ${row.state} ${told.join(" ")}`);
  }

  #fail(invariant: string, what: string): void {
    this.#options.story.fail(invariant, what);
  }
}

/** Undo: what ended last is taken back first; finally: the newest first; on_failure: in order. */
function comesBefore(run: ObservedRun, one: DurableStep, other: DurableStep): boolean {
  if (one.part === "on_failure") return one.position < other.position;
  if (one.part === "finally") return one.position > other.position;
  const order = ({ extra }: DurableStep) => run.steps.get(extra?.undoes ?? "")?.extra?.order ?? 0;
  return order(one) > order(other);
}
