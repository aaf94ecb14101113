import { Database } from "bun:sqlite";
import { wholeBody } from "../../agent/store/envelope.ts";
import type { CloudEvent } from "../../model/event.ts";
import type { RunState, StepExtra, StepPart, StepWait } from "../../model/run.ts";

export interface DurableRun {
  n: number;
  id: string;
  pipeline: string;
  rule: string | null;
  starter: string;
  eventSource: string | null;
  eventId: string | null;
  params: { k?: string; v?: number } | null;
  state: RunState;
  stop: { state: string } | null;
  key: string | null;
  parent: string | null;
}

export interface DurableStep {
  step: string;
  part: StepPart;
  position: number;
  state: RunState;
  waits: StepWait | null;
  attempts: number;
  fence: number;
  extra: StepExtra | null;
  /** `extra` as it is stored. */
  text: string | null;
  /** Of its error. */
  code: string | null;
}

type StoredStep = Omit<DurableStep, "extra"> & { run: number };

export interface DurableAttempt {
  step: string;
  number: number;
  state: string;
  code: string | null;
}

const RUN = `SELECT n, id, pipeline, rule, starter_kind AS starter, event_source AS eventSource, event_id AS eventId,
  params, state, stop, concurrency_key AS key, parent_run AS parent FROM runs`;
const STEP =
  "SELECT run, step, part, position, state, waits, attempts, fence, extra AS text, error ->> 'code' AS code FROM steps";

/** Reads what is committed, beside the agent, and beside its store. */
export class DurableRows {
  readonly #database: Database;
  readonly #version;
  readonly #newRuns;
  readonly #runs;
  readonly #steps;
  readonly #attempts;
  readonly #events;
  readonly #checkpoints;
  readonly #places;
  readonly #letters;
  #seen = -1;

  constructor(path: string) {
    this.#database = new Database(path, { readonly: true });
    const prepare = (sql: string) => this.#database.prepare(sql);
    this.#version = prepare("PRAGMA data_version");
    this.#newRuns = prepare(`${RUN} WHERE n > ? ORDER BY n`);
    this.#runs = prepare(`${RUN} WHERE n IN (SELECT value FROM json_each(?))`);
    this.#steps = prepare(`${STEP} WHERE run IN (SELECT value FROM json_each(?)) ORDER BY run, step`);
    this.#attempts = prepare(
      "SELECT step, number, state, error ->> 'code' AS code FROM attempts WHERE run = ? ORDER BY step, number",
    );
    this.#events = prepare(
      `SELECT events.n, sources.name AS source, events.id, events.type, events.body FROM events
        JOIN sources ON sources.n = events.source WHERE events.n > ? ORDER BY events.n`,
    );
    this.#checkpoints = prepare("SELECT trigger, value FROM checkpoints");
    this.#places = prepare("SELECT namespace, lock, run FROM lock_places ORDER BY n");
    this.#letters = prepare("SELECT run FROM dead_letters");
  }

  /** Whether something was committed since the last time. */
  changed(): boolean {
    const { data_version: version } = this.#version.get() as { data_version: number };
    if (version === this.#seen) return false;
    this.#seen = version;
    return true;
  }

  runs(known: number[], after: number): DurableRun[] {
    const rows = [...this.#runs.all(JSON.stringify(known)), ...this.#newRuns.all(after)];
    return (rows as (DurableRun & { params: string; stop: string | null })[]).map((row) => ({
      ...row,
      params: JSON.parse(row.params as string),
      stop: row.stop === null ? null : JSON.parse(row.stop as string),
    }));
  }

  /** Steps of these runs by run; one that is as `known` has it is that very object. */
  steps(runs: number[], known: (run: number, step: string) => DurableStep | undefined) {
    const byRun = new Map<number, DurableStep[]>(runs.map((run) => [run, []]));
    for (const row of this.#steps.all(JSON.stringify(runs)) as StoredStep[]) {
      const before = known(row.run, row.step);
      byRun.get(row.run)!.push(before && isSame(before, row) ? before : readStep(row));
    }
    return byRun;
  }

  attempts(run: number): DurableAttempt[] {
    return this.#attempts.all(run) as DurableAttempt[];
  }

  events(after: number): { n: number; event: CloudEvent }[] {
    const rows = this.#events.all(after) as {
      n: number;
      source: string;
      id: string;
      type: string;
      body: string;
    }[];
    return rows.map(({ n, source, id, type, body }) => ({
      n,
      event: JSON.parse(wholeBody(source, id, type, body)) as CloudEvent,
    }));
  }

  checkpoints(): Map<string, number> {
    const rows = this.#checkpoints.all() as { trigger: string; value: string }[];
    return new Map(rows.map(({ trigger, value }) => [trigger, JSON.parse(value) as number]));
  }

  lockPlaces(): { namespace: string; lock: string; run: string }[] {
    return this.#places.all() as { namespace: string; lock: string; run: string }[];
  }

  /** Runs that are set aside. */
  deadLetters(): Set<string> {
    return new Set((this.#letters.all() as { run: string }[]).map(({ run }) => run));
  }

  close(): void {
    this.#database.close();
  }
}

function isSame(a: Omit<DurableStep, "extra">, b: Omit<DurableStep, "extra">): boolean {
  return a.state === b.state && a.fence === b.fence && a.waits === b.waits && a.text === b.text;
}

function readStep(row: StoredStep): DurableStep {
  return { ...row, extra: row.text === null ? null : (JSON.parse(row.text) as StepExtra) };
}
