import type { Database, Statement } from "bun:sqlite";
import type { WriteGate } from "../../storage/write-gate.ts";

export interface KnownStep {
  fence: number;
  state: string;
}

export interface KnownRun {
  n: number;
  open: boolean;
  byRule: boolean;
  /** Number of the event that it is about. */
  event: number | null;
  steps: Map<string, KnownStep>;
}

interface FoundRun {
  n: number;
  open: number;
  by_rule: number;
  event_n: number | null;
}

/** Runs whose numbers, fences and states are held; what was forgotten is read again. */
const MAX_KNOWN = 20_000;

/**
 * Number, fences and states of open runs as the current transaction has them, so that a change is checked without asking
 * the database. Whoever changes a row changes it here too; after a roll-back everything is forgotten.
 */
export class KnownRuns {
  readonly #runs = new Map<string, KnownRun>();
  readonly #find: Statement;
  readonly #steps: Statement;

  constructor(database: Database, gate: WriteGate) {
    this.#find = gate.statement(database, "SELECT n, open, by_rule, event_n FROM runs WHERE id = ?");
    this.#steps = gate.statement(database, "SELECT step, fence, state FROM steps WHERE run = ?");
  }

  get(id: string): KnownRun | undefined {
    return this.#runs.get(id) ?? this.#read(id);
  }

  put(id: string, run: KnownRun): void {
    if (this.#runs.size >= MAX_KNOWN) this.#runs.clear();
    this.#runs.set(id, run);
  }

  forget(id: string): void {
    this.#runs.delete(id);
  }

  clear(): void {
    this.#runs.clear();
  }

  #read(id: string): KnownRun | undefined {
    const row = this.#find.get(id) as FoundRun | null;
    if (!row) return undefined;
    const rows = this.#steps.all(row.n) as ({ step: string } & KnownStep)[];
    const steps = new Map(rows.map(({ step, fence, state }) => [step, { fence, state }]));
    const { n, event_n: event } = row;
    const run = { n, open: row.open === 1, byRule: row.by_rule === 1, event, steps };
    if (run.open) this.put(id, run);
    return run;
  }
}
