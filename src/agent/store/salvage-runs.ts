import { type ConfigOrigin, hashOfText } from "../../model/attempt-facts.ts";
import type { AttemptRow, RunRow } from "../../model/run.ts";
import { TextReader } from "../../storage/text-parts.ts";
import type { PackedRun } from "./commands.ts";
import { definitionOf } from "./definition-rows.ts";
import { checkOpenRun } from "./open-run-check.ts";
import {
  attemptCells,
  attemptFromRow,
  runCells,
  runFromRow,
  type SqlRow,
  stepCells,
  stepFromRow,
} from "./run-columns.ts";
import { attempted, type SalvageCounts, type SalvageSource } from "./salvage-source.ts";
import type { StoreParts } from "./store-parts.ts";

/** Carries open runs from a damaged store: steps, attempts, the version of the pipeline, the event, places in locks. */
export class RunSalvage {
  readonly #source: SalvageSource;
  readonly #parts: StoreParts;
  readonly #counts: SalvageCounts;
  readonly #nowMs: number;
  readonly #saved = new Set<string>();

  constructor(source: SalvageSource, parts: StoreParts, counts: SalvageCounts, nowMs: number) {
    this.#source = source;
    this.#parts = parts;
    this.#counts = counts;
    this.#nowMs = nowMs;
  }

  all(): void {
    for (const row of this.#source.rows("SELECT n AS at, * FROM runs WHERE n > ? ORDER BY n LIMIT ?")) {
      if (row.open !== 1) continue;
      if (attempted(() => this.#run(row))) this.#counts.runs++;
      else this.#counts.runsLost++;
    }
    for (const { namespace, lock, run } of this.#source.table("lock_places"))
      if (this.#saved.has(run as string))
        this.#parts.locks.take([namespace as string, lock as string], run as string);
  }

  /** Reads everything of the run before it writes the first row. */
  #run(row: SqlRow): void {
    const { database } = this.#source;
    const run = runFromRow(row);
    const of = (table: string) =>
      database.query(`SELECT * FROM ${table} WHERE run = ?`).all(row.n as number) as SqlRow[];
    const rows = of("steps").map((step) => stepFromRow(run.id, step));
    checkOpenRun(run, rows);
    const steps = rows.map(stepCells);
    const tried = of("attempts").map((item) => attemptFromRow(run.id, item));
    const attempts = tried.map(attemptCells);
    const { body } = database.query("SELECT body FROM definitions WHERE hash = ?").get(run.definition) as {
      body: string;
    };
    definitionOf(body);
    const packed: PackedRun = { run: runCells(run), steps, records: [], definition: body };
    const n = this.#parts.runs.insert(packed, new TextReader(""), this.#event(row));
    if (n === undefined) return;
    for (const cells of attempts) this.#parts.runs.putAttempt(n, cells);
    this.#saved.add(run.id);
    this.#carryOrigin(run, tried);
  }

  /** What the run goes back to is carried as far as it can be read. */
  #carryOrigin({ config, rule }: RunRow, attempts: AttemptRow[]): void {
    const texts = new Map<string, string>();
    const read = (hash: string | null | undefined) => {
      if (!hash || texts.has(hash)) return;
      attempted(() => {
        const query = this.#source.database.query("SELECT body FROM definitions WHERE hash = ?");
        const { body } = query.get(hash) as { body: string };
        if (hashOfText(body) === hash) texts.set(hash, body);
      });
    };
    read(config);
    for (const { facts } of attempts) read(facts?.worker);
    const known = config ? texts.get(config) : undefined;
    if (known !== undefined && rule !== null)
      attempted(() => read((JSON.parse(known) as ConfigOrigin).rules[rule]));
    for (const [hash, text] of texts) this.#parts.definitions.add(hash, text);
  }

  #event(row: SqlRow): number | undefined {
    const event = row.event_n === null ? undefined : this.#source.event(row.event_n as number);
    if (!event) return undefined;
    const { events } = this.#parts;
    return events.insert([event], this.#nowMs, false)[0] || events.find(event.source, event.id)!.n;
  }
}
