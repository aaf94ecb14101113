import type { Database } from "bun:sqlite";
import type { LockPlace } from "../../model/run.ts";
import type { WriteGate } from "../../storage/write-gate.ts";

/** Queues of locks: places in the order in which they were taken, the first of a lock holds it. */
export class LockPlaces {
  readonly #database: Database;
  readonly #take;
  readonly #free;

  constructor(database: Database, gate: WriteGate) {
    this.#database = database;
    this.#take = gate.prepare(
      database,
      "lock_places.take",
      "INSERT INTO lock_places (namespace, lock, run) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
    );
    this.#free = gate.prepare(database, "lock_places.free", "DELETE FROM lock_places WHERE run = ?");
  }

  /** Nothing changes for a run that has a place there. */
  take([namespace, lock]: [string, string], runId: string): void {
    this.#take(namespace, lock, runId);
  }

  free(runId: string): void {
    this.#free(runId);
  }

  all(): LockPlace[] {
    return this.#database
      .query("SELECT n, namespace, lock, run AS runId FROM lock_places ORDER BY n")
      .all() as LockPlace[];
  }
}
