import { hasEnded } from "../../model/run.ts";
import type { HeldRun } from "./held-run.ts";
import type { Locks } from "./locks.ts";
import type { RunPlaces } from "./run-places.ts";

interface Options {
  runs: ReadonlyMap<string, HeldRun>;
  locks: Locks;
  places: RunPlaces;
  /** Runs that are about to end or to take back what they wait for. */
  yielding: ReadonlySet<string>;
}

/**
 * What runs wait for at one moment: those in front of them at a lock, their child runs, and a place of their pipeline,
 * which any of the runs under way may leave. A run for which there is no order of ends that brings it to its own is in
 * a deadlock. Approvals, timers and attempts are taken to end. What one question has found out serves the next.
 */
export class WaitGraph {
  readonly #options: Options;
  readonly #ending = new Set<string>();
  /** Of each queue, how far from its front the runs can end. */
  readonly #fronts = new Map<string, Front>();

  constructor(options: Options) {
    this.#options = options;
  }

  /** Whether the run would wait for itself; `asked` is a lock that it is about to wait for. */
  isDeadlock(run: string, asked: string | null): boolean {
    for (let known = -1; known < this.#ending.size;) {
      known = this.#ending.size;
      if (this.#canEnd(run, asked, new Set())) return false;
    }
    this.#lookFurther(run, asked);
    // One that only waits for others who are in a deadlock is freed with them.
    return this.#stuckBefore(run, asked).has(run);
  }

  /** The run cannot end; whether those that it waits for can was asked only until that was clear. */
  #lookFurther(run: string, asked: string | null): void {
    const others = this.#stuckBefore(run, asked);
    for (let known = -1; known < this.#ending.size;) {
      known = this.#ending.size;
      const passed = new Set([run]);
      for (const each of others) this.#canEnd(each, null, passed);
    }
  }

  /**
   * `passed`: runs that this pass has come to. One of them that is not known to end by now is taken not to; where that
   * was too early, the next pass knows better.
   */
  #canEnd(id: string, asked: string | null, passed: Set<string>): boolean {
    if (this.#ending.has(id)) return true;
    if (passed.has(id)) return false;
    passed.add(id);
    const can = this.#isFree(id, asked, passed);
    if (can) this.#ending.add(id);
    return can;
  }

  #isFree(id: string, asked: string | null, passed: Set<string>): boolean {
    const { runs, yielding } = this.#options;
    const held = runs.get(id);
    if (held === undefined || hasEnded(held.run.state)) return true;
    if (asked === null && yielding.has(id)) return true;
    if (!this.#getsPlace(id, passed)) return false;
    for (const name of this.#awaited(held, asked)) if (!this.#getsLock(id, name, passed)) return false;
    for (const child of childrenOf(held)) if (!this.#canEnd(child, null, passed)) return false;
    return true;
  }

  #getsPlace(id: string, passed: Set<string>): boolean {
    for (const { runs, limit } of this.#options.places.before(id)) {
      let staying = 0;
      for (const run of runs) {
        if (!this.#canEnd(run, null, passed) && ++staying >= limit) return false;
      }
    }
    return true;
  }

  #getsLock(id: string, name: string, passed: Set<string>): boolean {
    let front = this.#fronts.get(name);
    if (front === undefined) this.#fronts.set(name, (front = new Front(this.#options.locks.queue(name))));
    for (let first = front.first; first !== undefined && first !== id; first = front.first) {
      if (!this.#canEnd(first, null, passed)) return false;
      front.pass(first);
    }
    return true;
  }

  #awaited(held: HeldRun, asked: string | null): string[] {
    const names = waitsForLock(held) ? this.#options.locks.awaited(held.run.id) : [];
    return asked === null || names.includes(asked) ? names : [...names, asked];
  }

  /** Those that it waits for, and that they wait for in turn, as far as they are not known to end. */
  #stuckBefore(run: string, asked: string | null): Set<string> {
    const stuck = new Set<string>();
    const next = [...this.#waitsFor(run, asked)];
    for (let each = next.pop(); each !== undefined; each = next.pop()) {
      if (stuck.has(each) || this.#ending.has(each)) continue;
      stuck.add(each);
      for (const other of this.#waitsFor(each, each === run ? asked : null)) {
        if (!stuck.has(other)) next.push(other);
      }
    }
    return stuck;
  }

  *#waitsFor(id: string, asked: string | null): Iterable<string> {
    const { runs, locks, places } = this.#options;
    const held = runs.get(id);
    if (held === undefined) return;
    for (const before of places.before(id)) yield* before.runs;
    for (const name of this.#awaited(held, asked)) {
      for (const other of locks.queue(name)) {
        if (other === id) break;
        yield other;
      }
    }
    yield* childrenOf(held);
  }
}

/** Goes along a queue from its front. */
class Front {
  readonly #queue: Iterator<string>;
  first: string | undefined;

  constructor(queue: Iterable<string>) {
    this.#queue = queue[Symbol.iterator]();
    this.first = this.#next();
  }

  /** Does nothing when another question went past it meanwhile. */
  pass(run: string): void {
    if (this.first === run) this.first = this.#next();
  }

  #next(): string | undefined {
    const { value, done } = this.#queue.next();
    return done ? undefined : value;
  }
}

/** A run that is not open has no step under way: what it has a place for it waits for. */
function waitsForLock({ open, steps }: HeldRun): boolean {
  if (!open) return true;
  for (const step of steps.values()) if (step.state === "waiting" && step.waits === "lock") return true;
  return false;
}

function* childrenOf({ steps }: HeldRun): Iterable<string> {
  for (const step of steps.values()) {
    if (step.state === "running" && step.extra?.child !== undefined) yield step.extra.child;
  }
}
