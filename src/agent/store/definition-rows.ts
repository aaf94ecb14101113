import type { Database } from "bun:sqlite";
import { HoldfastError } from "../../core/errors.ts";
import type { PipelineDefinition, StepDefinition } from "../../model/pipeline.ts";
import type { WriteGate } from "../../storage/write-gate.ts";
import { storedJson } from "./stored-json.ts";

/** What versions of pipelines that were stored under the first schema do not say. */
const PIPELINE_DEFAULTS = {
  description: "",
  params: [],
  concurrencyByKey: null,
  priority: 0,
  deadlineMs: null,
  warnAfterMs: null,
  exclusive: null,
  sideEffectsPerHour: null,
  output: null,
  finally: [],
} satisfies Partial<PipelineDefinition>;

const STEP_DEFAULTS = {
  work: "action",
  when: null,
  foreach: null,
  deadlineMs: null,
  undo: null,
  exclusive: null,
  breaker: null,
  approval: null,
} satisfies Partial<StepDefinition>;

/**
 * Versions of pipelines, as JSON by the hash of their content; and in the same way what runs and attempts go back to:
 * configurations, rules, workers (model/attempt-facts.ts).
 */
export class DefinitionRows {
  readonly #database: Database;
  readonly #insert;
  readonly #delete;
  /** Versions that are in the table, as the current transaction has it. */
  readonly #stored = new Set<string>();
  /** Versions that came in since the start: whoever sent one may refer to it again without sending it. */
  readonly #received = new Set<string>();

  constructor(database: Database, gate: WriteGate) {
    this.#database = database;
    this.#insert = gate.prepare(
      database,
      "definitions.insert",
      "INSERT INTO definitions VALUES (?, ?) ON CONFLICT (hash) DO NOTHING",
    );
    this.#delete = gate.prepare(database, "definitions.trim", "DELETE FROM definitions WHERE hash = ?");
  }

  /** After a roll-back nobody knows which of the versions that came in are still there. */
  load(): void {
    this.#stored.clear();
  }

  /** `body` is left out by a sender to whom this version was acknowledged before. */
  add(hash: string, body: string | undefined): void {
    if (this.#stored.has(hash)) return;
    // No HoldfastError: the operation may have written something, and that must be rolled back.
    if (body === undefined && this.text(hash) === undefined)
      throw new Error(`the store does not have the pipeline version ${hash}, and was not given it`);
    if (body !== undefined) this.#insert(hash, body);
    this.#stored.add(hash);
    this.#received.add(hash);
  }

  text(hash: string): string | undefined {
    const row = this.#database.query("SELECT body FROM definitions WHERE hash = ?").get(hash);
    return (row as { body: string } | null)?.body;
  }

  get(hash: string): PipelineDefinition {
    const body = this.text(hash);
    if (body === undefined) throw new HoldfastError("corrupt", `the store lost the pipeline version ${hash}`);
    return definitionOf(body);
  }

  /** Those of the hashes that are here. */
  texts(hashes: string[]): Record<string, string> {
    return Object.fromEntries(
      hashes.flatMap((hash) => {
        const text = this.text(hash);
        return text === undefined ? [] : [[hash, text]];
      }),
    );
  }

  /** Those that nobody has sent since the start. */
  old(): string[] {
    const all = this.#database.query("SELECT hash FROM definitions").all() as { hash: string }[];
    return all.flatMap(({ hash }) => (this.#received.has(hash) ? [] : [hash]));
  }

  delete(hash: string): void {
    this.#delete(hash);
  }
}

/** The definition in a stored text, of whatever age: the rows are never rewritten, because their hash is that of the text. */
export function definitionOf(body: string): PipelineDefinition {
  const stored = storedJson<PipelineDefinition>(body);
  if ((stored as Partial<PipelineDefinition>).finally !== undefined) return stored;
  const step = (each: StepDefinition): StepDefinition => ({ ...STEP_DEFAULTS, ...each });
  return {
    ...PIPELINE_DEFAULTS,
    ...stored,
    steps: stored.steps.map(step),
    onFailure: stored.onFailure.map(step),
  };
}
