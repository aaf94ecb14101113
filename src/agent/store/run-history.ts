import type { Database } from "bun:sqlite";
import type { WriteGate } from "../../storage/write-gate.ts";
import type { StoreParts } from "./store-parts.ts";

/** Runs that one step deletes. */
const STEP = 200;
/** A chain in which each run starts the next has no end: beyond so many descendants the oldest goes alone. */
const MAX_FAMILY = 200;

interface Member {
  n: number;
  open: number;
}

interface Root {
  n: number;
  id: string;
  parent: number;
  newest: number;
}

/**
 * Deletes the oldest ended runs. Children go with the run above them, and a run stays while one that came out of it is
 * open: it shows where that one comes from.
 */
export class RunHistory {
  readonly #database: Database;
  readonly #parts: StoreParts;
  readonly #deleteSteps;
  readonly #deleteAttempts;
  readonly #deleteRuns;
  /** Where the next step goes on: behind families that one of them holds back, which have their turn with the next trimming. */
  #from = 0;

  constructor(database: Database, gate: WriteGate, parts: StoreParts) {
    this.#database = database;
    this.#parts = parts;
    const prepare = (label: string, table: string, column: string) =>
      gate.prepare(
        database,
        label,
        `DELETE FROM ${table} WHERE ${column} IN (SELECT value FROM json_each(?))`,
      );
    this.#deleteSteps = prepare("steps.trim", "steps", "run");
    this.#deleteAttempts = prepare("attempts.trim", "attempts", "run");
    this.#deleteRuns = prepare("runs.trim", "runs", "n");
  }

  /** After a roll-back nothing of the last step was done. */
  load(): void {
    this.#from = 0;
  }

  /** One step; true when there is more to delete. */
  trim(keep: number): boolean {
    const { runs, definitions } = this.#parts;
    const excess = runs.ended() - keep;
    if (excess <= 0) return false;
    const doomed = this.#oldest(Math.min(excess, STEP));
    if (doomed.length > 0) {
      const list = JSON.stringify(doomed);
      this.#deleteSteps(list);
      this.#deleteAttempts(list);
      this.#deleteRuns(list);
      runs.removed(doomed.length);
    }
    const more = doomed.length > 0 && excess > doomed.length;
    if (!more) {
      definitions.trim();
      this.#from = 0;
    }
    return more;
  }

  /** Whole families, the oldest first, until there are `wanted` runs. */
  #oldest(wanted: number): number[] {
    const roots = this.#roots();
    const doomed = new Set<number>();
    for (const root of roots) {
      if (doomed.size >= wanted) break;
      this.#from = root.n;
      for (const n of this.#goingWith(root)) doomed.add(n);
    }
    return [...doomed];
  }

  /** The run and its descendants, or nothing: the newest run of all stays, because numbers go on from it. */
  #goingWith({ n, id, parent, newest }: Root): number[] {
    if (n === newest) return [];
    if (parent === 0) return [n];
    const family = this.#family(id);
    if (family.length >= MAX_FAMILY) return [n];
    if (family.some((member) => member.open === 1 || member.n === newest)) return [];
    return [n, ...family.map((member) => member.n)];
  }

  #roots(): Root[] {
    return this.#database
      .query(
        `SELECT n, id, EXISTS (SELECT 1 FROM runs WHERE parent_run = run.id) AS parent,
            (SELECT max(n) FROM runs) AS newest
          FROM runs AS run WHERE open = 0 AND n > ?
          AND (parent_run IS NULL OR NOT EXISTS (SELECT 1 FROM runs WHERE id = run.parent_run))
          ORDER BY n LIMIT ?`,
      )
      .all(this.#from, STEP) as Root[];
  }

  #family(id: string): Member[] {
    return this.#database
      .query(
        `WITH RECURSIVE below (id, n, open) AS (
            SELECT id, n, open FROM runs WHERE parent_run = ?
            UNION SELECT runs.id, runs.n, runs.open FROM runs JOIN below ON runs.parent_run = below.id)
          SELECT n, open FROM below LIMIT ${MAX_FAMILY}`,
      )
      .all(id) as Member[];
  }
}
