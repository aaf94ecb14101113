import type { Database } from "bun:sqlite";
import { HoldfastError } from "../../core/errors.ts";
import type { CloudEvent } from "../../model/event.ts";
import type { PipelineDefinition } from "../../model/pipeline.ts";
import { type AttemptRow, hasEnded, type OpenRun, type RunRow, type StepRow } from "../../model/run.ts";
import type { WriteGate } from "../../storage/write-gate.ts";
import type { EventRows } from "./event-rows.ts";
import type { NewRun, RunChange } from "./port.ts";
import {
  attemptFromRow,
  fromJson,
  runFromRow,
  type SqlRow,
  stepFromRow,
  stepParams,
  toJson,
} from "./run-columns.ts";
import type { StreamHeads } from "./stream-heads.ts";

/** Runs, their steps, attempts and pipeline versions. */
export class RunRows {
  readonly #database: Database;
  readonly #heads: StreamHeads;
  readonly #insertRun;
  readonly #updateRun;
  readonly #putStep;
  readonly #putAttempt;
  readonly #addDefinition;

  constructor(database: Database, gate: WriteGate, heads: StreamHeads) {
    this.#database = database;
    this.#heads = heads;
    this.#insertRun = gate.prepare(
      database,
      "runs.insert",
      `INSERT INTO runs (id, pipeline, definition, rule, event_source, event_id, event_n, params, state, open, reason,
        created_ms, started_ms, ended_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
    );
    this.#updateRun = gate.prepare(
      database,
      "runs.update",
      "UPDATE runs SET state = ?, open = ?, reason = ?, started_ms = ?, ended_ms = ? WHERE n = ?",
    );
    this.#putStep = gate.prepare(
      database,
      "steps.put",
      "INSERT OR REPLACE INTO steps VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    );
    this.#putAttempt = gate.prepare(
      database,
      "attempts.put",
      "INSERT OR REPLACE INTO attempts VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
    );
    this.#addDefinition = gate.prepare(
      database,
      "definitions.insert",
      "INSERT INTO definitions VALUES (?, ?) ON CONFLICT (hash) DO NOTHING",
    );
  }

  /** `eventN` is the row of the event that started it. */
  insert(start: NewRun, eventN: number | null): void {
    const { run } = start;
    this.#addDefinition(run.definition, JSON.stringify(start.definition));
    this.#insertRun(
      run.id,
      run.pipeline,
      run.definition,
      run.rule,
      run.eventSource,
      run.eventId,
      eventN,
      JSON.stringify(run.params ?? null),
      run.state,
      hasEnded(run.state) ? 0 : 1,
      run.reason,
      run.createdMs,
      run.startedMs,
      run.endedMs,
    );
    const n = this.number(run.id)!;
    for (const step of start.steps) this.#putStep(...stepParams(n, step));
    for (const record of start.records) this.#heads.append(record);
  }

  /** False when a guard does not hold; nothing is changed then. */
  change(change: RunChange): boolean {
    const n = this.number(change.runId);
    if (n === undefined) throw new HoldfastError("not_found", `the store has no run ${change.runId}`);
    for (const guard of change.guards) {
      const step = this.#step(n, change.runId, guard.stepId);
      if (step?.fence !== guard.fence || step.state !== guard.state) return false;
    }
    const steps = change.steps.map((patch) => {
      const step = this.#step(n, change.runId, patch.stepId);
      if (!step) throw new HoldfastError("not_found", `run ${change.runId} has no step ${patch.stepId}`);
      return { ...step, ...patch };
    });
    for (const step of [...steps, ...(change.newSteps ?? [])]) this.#putStep(...stepParams(n, step));
    if (change.attempt) this.putAttempt(n, change.attempt);
    if (change.run) {
      const run = { ...this.#run(n)!, ...change.run };
      this.#updateRun(run.state, hasEnded(run.state) ? 0 : 1, run.reason, run.startedMs, run.endedMs, n);
    }
    for (const record of change.records) this.#heads.append(record);
    return true;
  }

  putAttempt(run: number, attempt: AttemptRow): void {
    const { stepId, number, fence, state, startedMs, endedMs, error } = attempt;
    this.#putAttempt(run, stepId, number, fence, state, startedMs, endedMs, toJson(error));
  }

  open(events: EventRows): OpenRun[] {
    const rows = this.#database.query("SELECT * FROM runs WHERE open = 1 ORDER BY n").all() as SqlRow[];
    return rows.map((row) => {
      const run = runFromRow(row);
      const event = row.event_n === null ? this.#eventOf(run, events) : events.at(row.event_n as number);
      return {
        run,
        steps: this.steps(row.n as number, run.id),
        definition: this.definition(run.definition),
        event: event === null ? null : (JSON.parse(event.body) as CloudEvent),
      };
    });
  }

  #eventOf(run: RunRow, events: EventRows): { body: string } | null {
    return run.eventSource === null || run.eventId === null
      ? null
      : events.find(run.eventSource, run.eventId);
  }

  find(id: string): { run: RunRow; steps: StepRow[]; attempts: AttemptRow[] } | null {
    const n = this.number(id);
    if (n === undefined) return null;
    return { run: this.#run(n)!, steps: this.steps(n, id), attempts: this.attempts(n, id) };
  }

  /** The newest first. */
  list(limit: number): RunRow[] {
    const rows = this.#database.query("SELECT * FROM runs ORDER BY n DESC LIMIT ?").all(limit);
    return (rows as SqlRow[]).map(runFromRow);
  }

  openCount(): number {
    const row = this.#database.query("SELECT count(*) AS count FROM runs WHERE open = 1").get();
    return (row as { count: number }).count;
  }

  steps(n: number, runId: string): StepRow[] {
    const rows = this.#database.query("SELECT * FROM steps WHERE run = ? ORDER BY position").all(n);
    return (rows as SqlRow[]).map((row) => stepFromRow(runId, row));
  }

  attempts(n: number, runId: string): AttemptRow[] {
    const rows = this.#database
      .query("SELECT * FROM attempts WHERE run = ? ORDER BY started_ms, step, number")
      .all(n);
    return (rows as SqlRow[]).map((row) => attemptFromRow(runId, row));
  }

  definition(hash: string): PipelineDefinition {
    const row = this.#database.query("SELECT body FROM definitions WHERE hash = ?").get(hash);
    if (!row) throw new HoldfastError("corrupt", `the store lost the pipeline version ${hash}`);
    return fromJson((row as { body: string }).body) as unknown as PipelineDefinition;
  }

  number(id: string): number | undefined {
    const row = this.#database.query("SELECT n FROM runs WHERE id = ?").get(id) as { n: number } | null;
    return row?.n;
  }

  #run(n: number): RunRow | null {
    const row = this.#database.query("SELECT * FROM runs WHERE n = ?").get(n) as SqlRow | null;
    return row && runFromRow(row);
  }

  #step(n: number, runId: string, stepId: string): StepRow | null {
    const row = this.#database.query("SELECT * FROM steps WHERE run = ? AND step = ?").get(n, stepId);
    return row ? stepFromRow(runId, row as SqlRow) : null;
  }
}
