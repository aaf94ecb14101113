import { LANES, RECORD_CLASSES } from "../../model/record.ts";
import { hasEnded, type RunState } from "../../model/run.ts";
import { mayMoveRun, mayMoveStep, STEP_PLACES, type StepPlace } from "../../model/run-transitions.ts";
import { definitionOf } from "./call-checks.ts";
import type { DurableStep } from "./durable-rows.ts";
import { checkLaterRuns } from "./later-checks.ts";
import type { ObservedRun } from "./observer.ts";
import type { World } from "./world.ts";

interface TellingRecord {
  id: string;
  state: string;
  waits?: string;
}

/** What must hold when everything has come to its end. */
export class FinalChecks {
  readonly #world: World;
  constructor(world: World) {
    this.#world = world;
  }

  async all(): Promise<void> {
    this.#events();
    this.#rules();
    for (const run of this.#world.observedRuns()) if (!run.gone) this.#attempts(run);
    this.#records();
    await this.#keptValues();
    this.#world.schedules.ended(this.#world.clock.wall(), this.#world.clock.trusted());
    for (const { ledger } of this.#world.outputs) ledger.ended();
    checkLaterRuns(this.#world);
    await this.#world.shared.looked(this.#world.agent!.shared);
  }

  #events(): void {
    const { sources, events } = this.#world;
    for (const { name, lines } of sources) {
      if (events.count(name) !== lines.length)
        this.#fail("no event lost", `${events.count(name)} of ${lines.length} lines of ${name} are there`);
    }
    const { hub } = this.#world.line;
    const lost = hub.lost(LANES.events);
    const epochs = new Set([...hub.streams.values()].map(({ epoch }) => epoch)).size;
    const held = new Map<string, number>();
    for (const { body } of this.#unique(LANES.events)) {
      const { source, id } = JSON.parse(body) as { source: string; id: string };
      held.set(`${source} ${id}`, (held.get(`${source} ${id}`) ?? 0) + 1);
    }
    for (const name of events.events) {
      const times = held.get(name) ?? 0;
      if (times > 1 || (times === 0 && lost === 0))
        this.#fail("the hub's copy", `the hub has event ${name} ${times} times`);
    }
    // What an earlier epoch has brought already may be given up in a later one.
    const known = held.size + lost;
    if (known < events.events.length || (known > events.events.length && epochs < 2))
      this.#fail(
        "the hub's copy",
        `the hub has ${held.size} events of ${events.events.length}, and ${lost} lost`,
      );
  }

  #rules(): void {
    const { reference, events } = this.#world;
    const actual: string[] = [];
    for (const { row } of this.#world.observedRuns()) {
      if (row.starter === "rule" && reference.has(row.rule!)) actual.push(`${row.rule} ${row.eventId}`);
    }
    for (const name of events.emitted) if (reference.has(name.split(" ")[0]!)) actual.push(name);
    const wrong = difference(reference.fired, actual);
    if (wrong !== null) this.#fail("rules as the reference", wrong);
  }

  /** What each attempt is called against what its worker said. */
  #attempts(run: ObservedRun): void {
    const { ledger, setting } = this.#world;
    for (const attempt of run.attempts) {
      const name = `attempt ${attempt.number} of ${run.row.id}/${attempt.step}`;
      const done = ledger
        .of(`${run.row.id}/${attempt.step}`)
        .findLast((execution) => execution.attempt === attempt.number);
      const told = done?.told ?? null;
      if (attempt.state === "running")
        this.#fail("states by the table", `${name} is running in an ended run`);
      if (attempt.state === "succeeded" && told !== "ok")
        this.#fail("no lies", `${name} is succeeded, the worker said ${told}`);
      if (
        attempt.state === "failed" &&
        attempt.code !== "circuit_open" &&
        told !== "error" &&
        told !== "refused"
      )
        this.#fail("unknown is not failed", `${name} is failed, the worker said ${told}`);
    }
    const pipeline = setting.pipelines.get(run.row.pipeline)!;
    for (const step of run.steps.values()) {
      const { work, foreach } = definitionOf(pipeline, step);
      if (work === "action" && (foreach === null || step.extra?.foreach)) this.#step(run, step);
    }
  }

  #step(run: ObservedRun, step: DurableStep): void {
    const name = `step ${step.step} of ${run.row.id}`;
    const last = run.attempts.findLast((attempt) => attempt.step === step.step);
    const executed = this.#world.ledger.performed(`${run.row.id}/${step.step}`);
    if (step.state === "succeeded" && (executed === 0 || last?.state !== "succeeded"))
      this.#fail("no lies", `${name} is succeeded, executed ${executed} times, last ${last?.state}`);
    // Held back by a cap or by an input that cannot be made, it fails for that, whatever became of the attempt before.
    const heldBack = step.code === "limited" || step.code === "input";
    if ((step.state === "failed" || step.state === "dead") && last?.state === "unknown" && !heldBack)
      this.#fail("unknown is not failed", `${name} is ${step.state} after an unknown attempt`);
    if (step.state === "uncertain" && last?.state !== "unknown")
      this.#fail("no lies", `${name} is uncertain after an attempt that is ${last?.state}`);
  }

  /** What the hub was told of runs and steps ends as they ended, and came by the tables. */
  #records(): void {
    if (this.#world.line.hub.lost(LANES.results) > 0) return;
    const runs = new Map<string, string>();
    const steps = new Map<string, StepPlace>();
    for (const record of this.#unique(LANES.results)) {
      const body = JSON.parse(record.body) as TellingRecord & { run: string; step: string };
      if (record.class === RECORD_CLASSES.run) {
        const before = runs.get(body.id);
        if (before !== undefined && before !== body.state && !runReachable(before, body.state))
          this.#fail("states by the table", `the hub was told of run ${body.id}: ${before} → ${body.state}`);
        runs.set(body.id, body.state);
      } else {
        const name = `${body.run}/${body.step}`;
        const place = (body.state === "waiting" ? `waiting:${body.waits}` : body.state) as StepPlace;
        const before = steps.get(name);
        if (before !== undefined && !stepReachable(before, place))
          this.#fail("states by the table", `the hub was told of step ${name}: ${before} → ${place}`);
        steps.set(name, place);
      }
    }
    for (const { row, steps: rows, gone } of this.#world.observedRuns()) {
      if (gone && !hasEnded(runs.get(row.id) as RunState))
        this.#fail(
          "no run lost",
          `run ${row.id} is gone, and the hub was told that it is ${runs.get(row.id)}`,
        );
      if (gone) continue;
      if (runs.get(row.id) !== row.state)
        this.#fail("the hub's copy", `run ${row.id} is ${row.state}, the hub was told ${runs.get(row.id)}`);
      for (const { step, state } of rows.values()) {
        const told = steps.get(`${row.id}/${step}`);
        if (hasEnded(state) && told !== state)
          this.#fail("the hub's copy", `step ${step} of ${row.id} is ${state}, the hub was told ${told}`);
      }
    }
  }

  async #keptValues(): Promise<void> {
    const { agent, kept } = this.#world;
    const setting = ((await agent!.store.setting("simulated")) as number | undefined) ?? -1;
    const output = (await agent!.store.outputCursor("simulated")) ?? 0;
    if (setting < kept.setting)
      this.#fail("answered is kept", `a setting is ${setting}, not ${kept.setting}`);
    if (output < kept.output) this.#fail("answered is kept", `a cursor is ${output}, not ${kept.output}`);
  }

  /** Rows that came again in a new epoch are the same rows, and stand where they came last: there their order is whole. */
  #unique(lane: number): { class: number; body: string }[] {
    const seen = new Set<string>();
    const newestFirst = this.#world.line.hub.records(lane).toReversed();
    return newestFirst.filter(({ body }) => !seen.has(body) && seen.add(body)).toReversed();
  }

  #fail(invariant: string, what: string): void {
    this.#world.fail(invariant, what);
  }
}

function difference(expected: string[], actual: string[]): string | null {
  const left = new Map<string, number>();
  for (const name of expected) left.set(name, (left.get(name) ?? 0) + 1);
  for (const name of actual) left.set(name, (left.get(name) ?? 0) - 1);
  for (const [name, count] of left) {
    if (count > 0) return `${name} should have fired and did not`;
    if (count < 0) return `${name} fired and should not have`;
  }
  return null;
}

function runReachable(from: string, to: string): boolean {
  const states = ["queued", "waiting", "running", to];
  return reaches(from, to, states, (a, b) => mayMoveRun(a as never, b as never));
}

function stepReachable(from: StepPlace, to: StepPlace): boolean {
  const open = STEP_PLACES.filter((place) => place.startsWith("waiting") || place === "queued");
  return (
    from === to || reaches(from, to, [...open, to], (a, b) => mayMoveStep(a as StepPlace, b as StepPlace))
  );
}

/** Through places that the hub is not told of. */
function reaches(
  from: string,
  to: string,
  through: string[],
  may: (a: string, b: string) => boolean,
): boolean {
  const seen = new Set([from]);
  const left = [from];
  for (let at = left.pop(); at !== undefined; at = left.pop()) {
    for (const next of through) {
      if (seen.has(next) || !may(at, next)) continue;
      if (next === to) return true;
      seen.add(next);
      left.push(next);
    }
  }
  return false;
}
