import type { Database, SQLQueryBindings } from "bun:sqlite";
import { HoldfastError } from "../../core/errors.ts";
import type { PipelineDefinition } from "../../model/pipeline.ts";
import { type AttemptRow, type RunRow, STEP_PARTS, type StepRow } from "../../model/run.ts";
import type { OpenRunsPage } from "./commands.ts";
import type { DefinitionRows } from "./definition-rows.ts";
import type { EventRows } from "./event-rows.ts";
import type { NumberedRun, RunFilter } from "./port.ts";
import { attemptFromRow, runFromRow, type SqlRow, stepFromRow } from "./run-columns.ts";
import { checkOpenRun } from "./open-run-check.ts";
import { storedJson } from "./stored-json.ts";

const SHORTEST_ID = 4;
/** Runs that one look for runs of a kind goes through: some milliseconds. */
const LOOKED_AT = 2000;
const LONGEST_ID = 200;

export interface RunPage {
  runs: NumberedRun[];
  /** Where to go on for more; null when there is no more. */
  next: RunFilter | null;
}

/** What is asked of runs, their steps and attempts. */
export class RunReads {
  readonly #database: Database;
  readonly #events: EventRows;
  readonly #definitions: DefinitionRows;

  constructor(database: Database, events: EventRows, definitions: DefinitionRows) {
    this.#database = database;
    this.#events = events;
    this.#definitions = definitions;
  }

  /** Open runs after number `after`, by scans over both tables and not by one query a run. Damage shows here, not later. */
  openPage(after: number, limit: number): OpenRunsPage {
    const rows = this.#all("SELECT * FROM runs WHERE open = 1 AND n > ? ORDER BY n LIMIT ?", after, limit);
    const last = (rows.at(-1)?.n as number | undefined) ?? after;
    const steps = this.#stepsBetween(after, last);
    const definitions: OpenRunsPage["definitions"] = {};
    const runs = rows.map((row) => {
      const run = runFromRow(row);
      definitions[run.definition] ??= this.#definitionText(run.definition);
      const event = this.#eventOf(row);
      if (event !== null) storedJson(event);
      const ofRun = (steps.get(row.n as number) ?? []).map((step) => stepFromRow(run.id, step));
      checkOpenRun(run, ofRun);
      return { run, steps: inOrder(ofRun), event };
    });
    return { runs, definitions, next: rows.length < limit ? null : last };
  }

  #stepsBetween(after: number, last: number): Map<number, SqlRow[]> {
    const steps = new Map<number, SqlRow[]>();
    const rows = this.#all(
      `SELECT steps.* FROM steps JOIN runs ON runs.n = steps.run AND runs.open = 1
        WHERE steps.run > ? AND steps.run <= ?`,
      after,
      last,
    );
    for (const row of rows) {
      const list = steps.get(row.run as number);
      if (list) list.push(row);
      else steps.set(row.run as number, [row]);
    }
    return steps;
  }

  #eventOf(row: SqlRow): string | null {
    if (row.event_n !== null) return this.#events.at(row.event_n as number)?.body ?? null;
    const { event_source: source, event_id: id } = row;
    if (source === null || id === null) return null;
    return this.#events.find(source as string, id as string)?.body ?? null;
  }

  #definitionText(hash: string): string {
    const text = this.#definitions.text(hash);
    if (text === undefined) throw new HoldfastError("corrupt", `the store lost the pipeline version ${hash}`);
    storedJson(text);
    return text;
  }

  /** By id, or by the beginning or end of exactly one. */
  find(
    text: string,
  ): (NumberedRun & { steps: StepRow[]; attempts: AttemptRow[]; definition: PipelineDefinition }) | null {
    const row = this.#all("SELECT * FROM runs WHERE id = ?", text)[0] ?? this.#findByPart(text);
    if (!row) return null;
    const run = runFromRow(row);
    const n = row.n as number;
    const steps = this.#all("SELECT * FROM steps WHERE run = ?", n).map((step) => stepFromRow(run.id, step));
    const attempts = this.#all("SELECT * FROM attempts WHERE run = ? ORDER BY started_ms, step, number", n);
    return {
      number: n,
      run,
      steps: inOrder(steps),
      attempts: attempts.map((attempt) => attemptFromRow(run.id, attempt)),
      definition: this.#definitions.get(run.definition),
    };
  }

  #findByPart(text: string): SqlRow | undefined {
    if (text.length < SHORTEST_ID || text.length > LONGEST_ID) return undefined;
    const rows = this.#all(
      // Through the index of ids, which is a tenth of the rows.
      `SELECT * FROM runs WHERE n IN (SELECT n FROM runs
          WHERE (id >= ?1 AND id < ?1 || char(1114111)) OR substr(id, -length(?1)) = ?1 ORDER BY +n DESC LIMIT 4)
        ORDER BY n DESC`,
      text,
    );
    if (rows.length <= 1) return rows[0];
    const ids = rows.map((row) => row.id as string);
    const list = ids.length > 3 ? `${ids.slice(0, 3).join(", ")} and others` : ids.join(" and ");
    throw new HoldfastError(
      "conflict",
      `${text} is part of the ids of several runs: ${list}: give more of it`,
    );
  }

  /** The newest first. One that looks for something looks at so many at once, and commits have their turn between. */
  list(filter: RunFilter): RunPage {
    const { pipeline, state, open, limit } = filter;
    const before = filter.before ?? Number.MAX_SAFE_INTEGER;
    const after = this.#lookedAtFrom(filter, before);
    const conditions = ["n > ?", "n < ?"];
    const params: SQLQueryBindings[] = [after, before];
    if (pipeline !== undefined) conditions.push("pipeline = ?");
    if (state !== undefined) conditions.push("state = ?");
    params.push(...[pipeline, state].filter((value) => value !== undefined), limit);
    // Said in the words of the index of open runs.
    if (open !== undefined) conditions.push(open ? "open = 1" : "open = 0");
    const where = `WHERE ${conditions.join(" AND ")} ORDER BY n DESC LIMIT ?`;
    const rows = this.#all(`SELECT * FROM runs ${where}`, ...params);
    const runs = rows.map((row) => ({ number: row.n as number, run: runFromRow(row) }));
    const ended = after === 0 || runs.length >= limit;
    return { runs, next: ended ? null : { ...filter, before: after + 1, limit: limit - runs.length } };
  }

  /** The number after which to look, 0 for all: what has an index, or matches nearly always, needs no end. */
  #lookedAtFrom({ pipeline, state, open }: RunFilter, before: number): number {
    if (open === true || (pipeline === undefined && state === undefined)) return 0;
    const row = this.#all(
      "SELECT min(n) AS n FROM (SELECT n FROM runs WHERE n < ? ORDER BY n DESC LIMIT ?)",
      before,
      LOOKED_AT,
    )[0]!;
    return Math.max(0, ((row.n as number | null) ?? 1) - 1);
  }

  children(runId: string): RunRow[] {
    return this.#all("SELECT * FROM runs WHERE parent_run = ? ORDER BY n", runId).map(runFromRow);
  }

  openCount(): number {
    return this.#all("SELECT count(*) AS count FROM runs WHERE open = 1")[0]!.count as number;
  }

  #all(sql: string, ...params: SQLQueryBindings[]): SqlRow[] {
    return this.#database.query(sql).all(...params) as SqlRow[];
  }
}

const PART_ORDER = new Map(STEP_PARTS.map((part, i) => [part, i]));

/** By part, then by place in it. */
function inOrder(steps: StepRow[]): StepRow[] {
  return steps.sort((a, b) => PART_ORDER.get(a.part)! - PART_ORDER.get(b.part)! || a.position - b.position);
}
