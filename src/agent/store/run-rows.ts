import type { Database } from "bun:sqlite";
import { HoldfastError } from "../../core/errors.ts";
import { BULK_ROWS, BulkInsert } from "../../storage/bulk-insert.ts";
import { ColumnUpdates } from "../../storage/column-updates.ts";
import { TextReader } from "../../storage/text-parts.ts";
import type { Cell, WriteGate } from "../../storage/write-gate.ts";
import type { ChangeRunCommand, PackedRun } from "./commands.ts";
import type { DeadLetters } from "./dead-letters.ts";
import type { DefinitionRows } from "./definition-rows.ts";
import type { EventRows } from "./event-rows.ts";
import { HeldEvents } from "./held-events.ts";
import type { KeyValues } from "./key-values.ts";
import { type KnownRun, KnownRuns } from "./known-runs.ts";
import type { LaterRows } from "./later-rows.ts";
import type { LockPlaces } from "./lock-places.ts";
import type { SideEffectRows } from "./side-effect-rows.ts";
import { eachRecord } from "./pack-runs.ts";
import {
  RUN_CELL,
  RUN_COLUMNS,
  RUN_UPDATES,
  STEP_CELL,
  STEP_COLUMNS,
  STEP_UPDATES,
  STEP_WIDTH,
} from "./run-columns.ts";
import type { StreamHeads } from "./stream-heads.ts";

const DELETED = "deleted_runs";

export interface RunRowsParts {
  values: KeyValues;
  heads: StreamHeads;
  events: EventRows;
  definitions: DefinitionRows;
  locks: LockPlaces;
  dead: DeadLetters;
  laters: LaterRows;
  sideEffects: SideEffectRows;
}

/** The write side of runs, their steps and attempts. */
export class RunRows {
  /** Events that open runs are about. */
  readonly heldEvents: HeldEvents;
  readonly #database: Database;
  readonly #parts: RunRowsParts;
  readonly #known: KnownRuns;
  readonly #insertRun;
  readonly #insertSteps: BulkInsert;
  readonly #insertAttempt;
  readonly #deleteStep;
  readonly #updateRun: ColumnUpdates;
  readonly #updateStep: ColumnUpdates;
  readonly #hasParentKey;
  #last = 0;
  /** Numbers that have no row any more. */
  #deleted = 0;
  #ended: number | undefined;

  constructor(database: Database, gate: WriteGate, parts: RunRowsParts) {
    this.#database = database;
    this.#parts = parts;
    this.heldEvents = new HeldEvents(database);
    this.#known = new KnownRuns(database, gate);
    this.#insertRun = gate.prepareList(
      database,
      "runs.insert",
      `INSERT INTO runs (${RUN_COLUMNS}, n, event_n, by_rule)
        VALUES (${Array(RUN_COLUMNS.split(",").length + 3)
          .fill("?")
          .join(", ")})`,
    );
    const steps = `INSERT INTO steps (${STEP_COLUMNS}, run)`;
    const tuple = `(${Array(STEP_WIDTH + 1)
      .fill("?")
      .join(", ")})`;
    this.#insertSteps = new BulkInsert(database, gate, "steps.insert", steps, tuple);
    this.#insertAttempt = gate.prepareList(
      database,
      "attempts.put",
      `INSERT OR REPLACE INTO attempts
          (step, number, fence, state, started_ms, ended_ms, error, worker, ended, run)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
    );
    this.#deleteStep = gate.prepare(database, "steps.remove", "DELETE FROM steps WHERE run = ? AND step = ?");
    this.#updateRun = new ColumnUpdates(database, gate, "runs.update", {
      table: "runs",
      columns: RUN_UPDATES,
      where: "n = ?",
    });
    this.#updateStep = new ColumnUpdates(database, gate, "steps.update", {
      table: "steps",
      columns: STEP_UPDATES,
      where: "run = ? AND step = ?",
    });
    this.#hasParentKey = gate.statement(database, "SELECT 1 FROM runs WHERE parent_key = ?");
  }

  load(): void {
    const row = this.#database.query("SELECT max(n) AS last FROM runs").get() as { last: number | null };
    this.#last = row.last ?? 0;
    this.#deleted = (this.#parts.values.meta(DELETED) as number | undefined) ?? 0;
    this.#ended = undefined;
    this.#known.clear();
    this.heldEvents.load();
  }

  /** Runs that have ended and are still here. */
  ended(): number {
    const open = "SELECT count(*) AS count FROM runs WHERE open = 1";
    this.#ended ??=
      this.#last - this.#deleted - (this.#database.query(open).get() as { count: number }).count;
    return this.#ended;
  }

  /** Number of the run that came last; 0 is none. */
  last(): number {
    return this.#last;
  }

  /** When the oldest one was made, by the host's clock. */
  oldestMs(): number | null {
    const row = this.#database.query("SELECT created_ms AS ms FROM runs ORDER BY n LIMIT 1").get();
    return (row as { ms: number } | null)?.ms ?? null;
  }

  /** Takes note that ended runs were deleted. */
  removed(runs: number): void {
    this.#deleted += runs;
    this.#parts.values.setMeta(DELETED, this.#deleted);
    if (this.#ended !== undefined) this.#ended -= runs;
  }

  /**
   * `eventN` is the row of the event that started it; undefined has it looked up. Returns its number, or undefined when
   * the store already has a run with this parent key.
   */
  insert(start: PackedRun, text: TextReader, eventN?: number | null): number | undefined {
    const { run, steps, records, lease } = start;
    const { definitions, heads, sideEffects } = this.#parts;
    definitions.add(run[RUN_CELL.definition] as string, start.definition);
    const key = run[RUN_CELL.parentKey] as string | null;
    if (key !== null && this.#hasParentKey.get(key) !== null) {
      eachRecord(records, text, () => {});
      return undefined;
    }
    const n = this.#last + 1;
    const id = run[RUN_CELL.id] as string;
    const byRule = this.#isByRule(run);
    const event = eventN === undefined ? this.#eventOf(run) : eventN;
    this.#insertRun([...run, n, event, byRule ? 1 : 0]);
    this.#last = n;
    const open = run[RUN_CELL.open] === 1;
    const known: KnownRun = { n, open, byRule, event, steps: new Map() };
    this.#addSteps(known, steps);
    if (lease) this.putAttempt(n, lease.attempt);
    if (lease?.sideEffect) sideEffects.count(lease.sideEffect);
    if (open) {
      this.#known.put(id, known);
      this.heldEvents.began(n, event);
    } else if (this.#ended !== undefined) this.#ended++;
    eachRecord(records, text, (lane, recordClass, body) => heads.append(lane, recordClass, body));
    return n;
  }

  /** False when a guard does not hold; nothing is changed then. */
  change(change: ChangeRunCommand, text: string): boolean {
    const run = this.#known.get(change.runId);
    if (run === undefined) throw new HoldfastError("not_found", `the store has no run ${change.runId}`);
    for (const { stepId, fence, state } of change.guards) {
      const step = run.steps.get(stepId);
      if (step?.fence !== fence || step.state !== state) return false;
    }
    for (const { id } of change.steps) {
      if (run.steps.has(id)) continue;
      throw new HoldfastError("not_found", `run ${change.runId} has no step ${id}`);
    }
    this.#changeSteps(run, change);
    if (change.attempt) this.putAttempt(run.n, change.attempt);
    if (change.run) this.#changeRun(change.runId, run, change.run);
    const { locks, dead, laters, heads, sideEffects } = this.#parts;
    if (change.sideEffect) sideEffects.count(change.sideEffect);
    if (change.lock) locks.take(change.lock, change.runId);
    if (change.unlock) locks.free(change.runId);
    if (change.dead) dead.put(change.dead);
    for (const later of change.newLaters ?? []) laters.insert(later);
    const reader = new TextReader(text);
    eachRecord(change.records, reader, (lane, recordClass, body) => heads.append(lane, recordClass, body));
    for (const start of change.newRuns ?? []) this.insert(start, reader);
    return true;
  }

  putAttempt(run: number, cells: Cell[]): void {
    cells.push(run);
    this.#insertAttempt(cells);
  }

  #changeSteps(run: KnownRun, { removedSteps = [], steps, newSteps = [] }: ChangeRunCommand): void {
    for (const id of removedSteps) {
      this.#deleteStep(run.n, id);
      run.steps.delete(id);
    }
    for (const { id, update, state, fence } of steps) {
      this.#updateStep.run(update, [run.n, id]);
      const step = run.steps.get(id)!;
      step.state = state;
      if (fence !== undefined) step.fence = fence;
    }
    this.#addSteps(run, newSteps);
  }

  #changeRun(id: string, run: KnownRun, { update, ended }: NonNullable<ChangeRunCommand["run"]>): void {
    if (update[0] === 0) return;
    this.#updateRun.run(update, [run.n]);
    if (!ended || !run.open) return;
    this.#known.forget(id);
    this.heldEvents.ended(run.n, run.event);
    if (this.#ended !== undefined) this.#ended++;
  }

  #addSteps(run: KnownRun, rows: Cell[][]): void {
    const { params } = this.#insertSteps;
    for (let from = 0; from < rows.length; from += BULK_ROWS) {
      const chunk = rows.slice(from, from + BULK_ROWS);
      let at = 0;
      for (const cells of chunk) {
        for (const cell of cells) params[at++] = cell;
        params[at++] = run.n;
        const [id, state, fence] = [cells[STEP_CELL.id], cells[STEP_CELL.state], cells[STEP_CELL.fence]];
        run.steps.set(id as string, { fence: fence as number, state: state as string });
      }
      this.#insertSteps.run(chunk.length);
    }
  }

  /** A run counts when a rule started it, or when it came out of one that counts. */
  #isByRule(run: Cell[]): boolean {
    if (run[RUN_CELL.kind] === "rule") return true;
    const parent = run[RUN_CELL.parentRun] as string | null;
    return parent !== null && this.#known.get(parent)?.byRule === true;
  }

  #eventOf(run: Cell[]): number | null {
    const [source, id] = [run[RUN_CELL.source], run[RUN_CELL.event]] as (string | null)[];
    if (source === null || id === null) return null;
    return this.#parts.events.find(source!, id!)?.n ?? null;
  }
}
