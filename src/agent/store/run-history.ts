import type { Database } from "bun:sqlite";
import type { WriteGate } from "../../storage/write-gate.ts";
import { type Cap, type Doomed, doomed, type TableFacts } from "./retention.ts";
import type { StoreParts } from "./store-parts.ts";
import type { Trimmed, TrimNow } from "./trim-step.ts";

/** Run numbers that one step looks at: among them may be many that go with others, or stay. */
const LOOKED_AT = 1000;
/** A run that took less is as old as its beginning. */
const SHORT_MS = 60_000;
/** A chain in which each run starts the next has no end: beyond so many descendants the oldest goes alone. */
const MAX_FAMILY = 200;

interface Member {
  n: number;
  open: number;
  created_ms: number;
  ended_ms: number | null;
}

interface Root extends Member {
  id: string;
  parent: number;
}

/**
 * Deletes the oldest ended runs. Children go with the run above them, and a run stays while one that came out of it is
 * open: it shows where that one comes from.
 */
export class RunHistory {
  readonly #database: Database;
  readonly #parts: StoreParts;
  readonly #cap: Cap;
  readonly #deleteSteps;
  readonly #deleteAttempts;
  readonly #deleteRuns;
  /** Where the next step goes on: behind families that one of them holds back, which have their turn with the next trimming. */
  #from = 0;

  constructor(database: Database, gate: WriteGate, parts: StoreParts, cap: Cap) {
    this.#database = database;
    this.#parts = parts;
    this.#cap = cap;
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
    this.beginAnew();
  }

  beginAnew(): void {
    this.#from = 0;
  }

  trim(now: TrimNow, step: number): Trimmed {
    const facts = this.#facts(now);
    const due = doomed(facts, this.#cap, step);
    if (due === null) return { touched: 0, more: false };
    const before = this.#from;
    const gone = this.#oldest(due, now);
    if (gone.length > 0) this.#deleteAll(gone);
    this.#parts.trimCounts.add("runs", due.reason, gone.length, facts.rows, now.monoMs);
    return { touched: Math.max(gone.length, this.#from - before > 0 ? 1 : 0), more: true };
  }

  #facts({ trustedMs, monoMs, tooLarge }: TrimNow): TableFacts {
    const { runs, marks, trimCounts } = this.#parts;
    const rows = runs.ended();
    const first = this.#firstAfter(this.#from) ?? runs.last() + 1;
    // The newest run of all stays, because numbers go on from it.
    const newest = runs.last();
    return {
      ...{ rows, first, neededFrom: newest, neededThough: newest, tooLarge },
      agedTo: marks.before("runs", trustedMs - this.#cap.ageMs),
      ageAllowance: trimCounts.allowance("runs", rows, monoMs),
    };
  }

  #firstAfter(n: number): number | undefined {
    const row = this.#database.query("SELECT n FROM runs WHERE n > ? ORDER BY n LIMIT 1").get(n);
    return (row as { n: number } | null)?.n;
  }

  #deleteAll(runs: number[]): void {
    const list = JSON.stringify(runs);
    this.#deleteSteps(list);
    this.#deleteAttempts(list);
    this.#deleteRuns(list);
    this.#parts.runs.removed(runs.length);
  }

  /** Whole families, the oldest first, until there are as many runs as are due. */
  #oldest(due: Doomed, now: TrimNow): number[] {
    const gone = new Set<number>();
    const last = Math.min(due.to, this.#lastLookedAt());
    for (const root of this.#roots(last)) {
      const family = this.#goingWith(root, due, now);
      if (gone.size > 0 && gone.size + family.length > due.rows) return [...gone];
      this.#from = root.n;
      for (const n of family) gone.add(n);
      if (gone.size >= due.rows) return [...gone];
    }
    this.#from = last;
    return [...gone];
  }

  /** Over numbers that have no row any more it goes at once. */
  #lastLookedAt(): number {
    const first = this.#firstAfter(this.#from);
    return first === undefined ? this.#from : Math.max(this.#from, first - 1) + LOOKED_AT;
  }

  /** The run and its descendants, or nothing. */
  #goingWith(root: Root, due: Doomed, now: TrimNow): number[] {
    const family = root.parent === 0 ? [] : this.#family(root.id);
    // Of one that has no end the oldest goes alone.
    const all = family.length >= MAX_FAMILY ? [root] : [root, ...family];
    const stays = (member: Member) =>
      member.open === 1 ||
      member.n === this.#parts.runs.last() ||
      (due.reason === "age" && !this.#isOld(member, due, now));
    return all.some(stays) ? [] : all.map(({ n }) => n);
  }

  /** Its number says when it came; from there it is as long to its end as the host's clock says. */
  #isOld({ n, created_ms, ended_ms }: Member, { to }: Doomed, { trustedMs }: TrimNow): boolean {
    const took = (ended_ms ?? created_ms) - created_ms;
    if (took < SHORT_MS) return n <= to;
    return n <= this.#parts.marks.before("runs", trustedMs - this.#cap.ageMs - took);
  }

  #roots(last: number): Root[] {
    return this.#database
      .query(
        `SELECT n, id, open, created_ms, ended_ms,
            EXISTS (SELECT 1 FROM runs WHERE parent_run = run.id) AS parent
          FROM runs AS run WHERE open = 0 AND n > ? AND n <= ?
          AND (parent_run IS NULL OR NOT EXISTS (SELECT 1 FROM runs WHERE id = run.parent_run))
          ORDER BY n`,
      )
      .all(this.#from, last) as Root[];
  }

  #family(id: string): Member[] {
    return this.#database
      .query(
        `WITH RECURSIVE below (id, n, open, created_ms, ended_ms) AS (
            SELECT id, n, open, created_ms, ended_ms FROM runs WHERE parent_run = ?
            UNION SELECT runs.id, runs.n, runs.open, runs.created_ms, runs.ended_ms
              FROM runs JOIN below ON runs.parent_run = below.id)
          SELECT n, open, created_ms, ended_ms FROM below LIMIT ${MAX_FAMILY}`,
      )
      .all(id) as Member[];
  }
}
