import type { LockPlace } from "../../model/run.ts";

/**
 * The queues of the named locks, as the store has them: who came first holds the lock until its run ends. Places are
 * entered here once they are durable, in the order of the commits.
 */
export class Locks {
  /** Runs in the order of their places, by name of the lock. */
  readonly #queues = new Map<string, Set<string>>();
  readonly #ofRun = new Map<string, Set<string>>();

  load(places: LockPlace[]): void {
    for (const place of places.toSorted((a, b) => a.n - b.n)) {
      this.enter(place.runId, lockName(place.namespace, place.lock));
    }
  }

  enter(run: string, name: string): void {
    const queue = this.#queues.get(name) ?? new Set();
    this.#queues.set(name, queue.add(run));
    const names = this.#ofRun.get(run) ?? new Set();
    this.#ofRun.set(run, names.add(name));
  }

  holder(name: string): string | undefined {
    return this.#queues.get(name)?.values().next().value;
  }

  /** Runs with a place, the holder first. */
  queue(name: string): Iterable<string> {
    return this.#queues.get(name) ?? NONE;
  }

  /** Locks that the run has a place for, held or not. */
  places(run: string): ReadonlySet<string> {
    return this.#ofRun.get(run) ?? NONE;
  }

  /** Locks that the run waits for. */
  awaited(run: string): string[] {
    return [...this.places(run)].filter((name) => this.holder(name) !== run);
  }

  /** The run has ended. Gives the runs that hold a lock now which they waited for. */
  leave(run: string): { name: string; holder: string }[] {
    const names = this.#ofRun.get(run);
    if (names === undefined) return [];
    this.#ofRun.delete(run);
    const passed: { name: string; holder: string }[] = [];
    for (const name of names) {
      const queue = this.#queues.get(name)!;
      const held = this.holder(name) === run;
      queue.delete(run);
      if (queue.size === 0) this.#queues.delete(name);
      else if (held) passed.push({ name, holder: this.holder(name)! });
    }
    return passed;
  }

  /** The locks that somebody waits for. */
  contended(): { lock: string; holder: string; waiting: number }[] {
    const queues = [...this.#queues].filter(([, queue]) => queue.size > 1);
    return queues.map(([lock, queue]) => ({ lock, holder: this.holder(lock)!, waiting: queue.size - 1 }));
  }

  /** Places in front of which another run stands. */
  get waiting(): number {
    let count = 0;
    for (const queue of this.#queues.values()) count += queue.size - 1;
    return count;
  }
}

const NONE: ReadonlySet<string> = new Set();

/** One name for a lock of a namespace. Namespaces are names, which hold no slash. */
export function lockName(namespace: string, lock: string): string {
  return `${namespace}/${lock}`;
}
