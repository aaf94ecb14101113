import type { Database } from "bun:sqlite";
import type { PipelineDefinition } from "../../model/pipeline.ts";
import { LANES, type LaneNumber, type RecordClassNumber, ZERO_HASH } from "../../model/record.ts";
import { rowHash, sameHash } from "../../protocol/chain.ts";
import { migrate } from "../../storage/migrations.ts";
import { openDatabase, transaction } from "../../storage/open-database.ts";
import type { WriteGate } from "../../storage/write-gate.ts";
import type { OpenCommand } from "./commands.ts";
import { wholeBody } from "./envelope.ts";
import type { NewEvent } from "./event-rows.ts";
import { AGENT_MIGRATIONS } from "./migrations/migrations.ts";
import { readableRows } from "./readable-rows.ts";
import { attemptFromRow, fromJson, runFromRow, type SqlRow, stepFromRow } from "./run-columns.ts";
import { createStore, loadParts, type StoreParts, storeParts } from "./store-parts.ts";

export interface SalvageOptions {
  damaged: string;
  /** Where the new store is built; nothing is there yet. */
  fresh: string;
  movedTo: string;
  reason: string;
  command: OpenCommand;
  gate: WriteGate;
}

/**
 * Builds a new store, in a new epoch, from what can still be read of a damaged one: settings, rule times, rows that the
 * hub has not acknowledged, open runs. Not checkpoints: triggers start from now. Returns how much was saved and lost.
 */
export function salvage(options: SalvageOptions): Record<string, number> {
  const target = openDatabase(options.fresh);
  try {
    migrate(target, AGENT_MIGRATIONS, options.fresh);
    const parts = storeParts(target, options.gate);
    return transaction(target, () => fill(target, parts, options));
  } finally {
    options.gate.close();
    target.close(true);
  }
}

function fill(target: Database, parts: StoreParts, options: SalvageOptions): Record<string, number> {
  const { command, movedTo, reason } = options;
  createStore(target, parts, { epoch: command.newEpoch, reason: "salvaged", nowMs: command.nowMs });
  loadParts(parts);
  const counts = { settings: 0, ruleTimes: 0, outbox: 0, outboxLost: 0, runs: 0, runsLost: 0 };
  let source: Database | undefined;
  try {
    source = openDatabase(options.damaged, { readonly: true });
    new Salvager(source, parts, counts, command.nowMs).all();
  } catch {
    // What could not even be opened holds nothing that can be read; the counts say so.
  } finally {
    source?.close();
  }
  parts.values.setMeta("salvage", { movedTo, reason, salvaged: counts });
  parts.heads.flush();
  return counts;
}

type Counts = Record<"settings" | "ruleTimes" | "outbox" | "outboxLost" | "runs" | "runsLost", number>;

class Salvager {
  readonly #source: Database;
  readonly #parts: StoreParts;
  readonly #counts: Counts;
  readonly #nowMs: number;

  constructor(source: Database, parts: StoreParts, counts: Counts, nowMs: number) {
    this.#source = source;
    this.#parts = parts;
    this.#counts = counts;
    this.#nowMs = nowMs;
  }

  all(): void {
    this.#settings();
    this.#ruleTimes();
    for (const lane of Object.values(LANES))
      for (const segment of this.#segments(lane)) this.#stream(lane, segment);
    this.#openRuns();
  }

  #settings(): void {
    for (const row of this.#table("settings", "key, value")) {
      const saved = attempt(() => this.#parts.values.setSetting(row.key as string, fromJson(row.value)));
      if (saved) this.#counts.settings++;
    }
  }

  #ruleTimes(): void {
    for (const row of this.#table("rule_times", "rule, fired_ms")) {
      this.#parts.values.setRuleTime(row.rule as string, row.fired_ms as number);
      this.#counts.ruleTimes++;
    }
  }

  /** Rows of a small table by rowid. */
  #table(table: string, columns: string): Iterable<SqlRow> {
    return readableRows(
      (after, limit) =>
        this.#source
          .query(`SELECT rowid AS at, ${columns} FROM ${table} WHERE rowid > ? ORDER BY rowid LIMIT ?`)
          .all(after, limit) as SqlRow[],
    );
  }

  #segments(lane: number): number[] {
    const found = quietly(() =>
      this.#source.query("SELECT DISTINCT segment FROM outbox WHERE lane = ? ORDER BY segment").all(lane),
    ) as { segment: number }[] | undefined;
    return found?.map((row) => row.segment) ?? [1];
  }

  /** Rows after the acknowledged one go on in order, unless their bytes contradict their hash. */
  #stream(lane: LaneNumber, segment: number): void {
    const state = quietly(() =>
      this.#source
        .query(
          `SELECT acknowledged, last FROM streams WHERE lane = ? AND segment = ?
            AND epoch = (SELECT json_extract(value, '$') FROM meta WHERE key = 'epoch')`,
        )
        .get(lane, segment),
    ) as { acknowledged: number; last: number } | null | undefined;
    const acknowledged = state?.acknowledged ?? 0;
    let previous = acknowledged === 0 && segment === 1 ? ZERO_HASH : this.#hash(lane, segment, acknowledged);
    let at = acknowledged;
    for (const row of readableRows(
      (after, limit) => this.#outbox(lane, segment, after, limit),
      acknowledged,
    )) {
      const number = row.at as number;
      const genuine = this.#carry(lane, number === at + 1 ? previous : undefined, row);
      this.#counts.outboxLost += number - at - 1 + (genuine ? 0 : 1);
      if (genuine) this.#counts.outbox++;
      previous = row.hash as Uint8Array;
      at = number;
    }
    if (state && state.last > at) this.#counts.outboxLost += state.last - at;
  }

  #outbox(lane: number, segment: number, after: number, limit: number): SqlRow[] {
    return this.#source
      .query(
        `SELECT number AS at, class, hash, event_n, body FROM outbox
          WHERE lane = ? AND segment = ? AND number > ? ORDER BY number LIMIT ?`,
      )
      .all(lane, segment, after, limit) as SqlRow[];
  }

  #hash(lane: number, segment: number, number: number): Uint8Array | undefined {
    const row = quietly(() => this.#outbox(lane, segment, number - 1, 1)[0]);
    return row?.at === number ? (row.hash as Uint8Array) : undefined;
  }

  #carry(lane: LaneNumber, previous: Uint8Array | undefined, row: SqlRow): boolean {
    const event = row.body === null ? this.#event(row.event_n as number) : undefined;
    const body = event ? event.body : (row.body as string | null);
    const recordClass = row.class as RecordClassNumber;
    if (body === null) return false;
    if (previous && !sameHash(rowHash(previous, row.at as number, recordClass, body), row.hash as Uint8Array))
      return false;
    if (event) return this.#parts.events.insert([event], this.#nowMs)[0]! > 0;
    this.#parts.heads.append({ lane, class: recordClass, body });
    return true;
  }

  #event(n: number): NewEvent | undefined {
    const row = quietly(() =>
      this.#source
        .query(
          `SELECT sources.name AS source, events.id, events.type, events.time_ms, events.body
            FROM events JOIN sources ON sources.n = events.source WHERE events.n = ?`,
        )
        .get(n),
    ) as { source: string; id: string; type: string; time_ms: number; body: string } | null | undefined;
    if (!row) return undefined;
    const { source, id, type } = row;
    return { source, id, type, timeMs: row.time_ms, body: wholeBody(source, id, type, row.body) };
  }

  #openRuns(): void {
    const runs = readableRows(
      (after, limit) =>
        this.#source
          .query("SELECT n AS at, * FROM runs WHERE n > ? ORDER BY n LIMIT ?")
          .all(after, limit) as SqlRow[],
    );
    for (const row of runs) {
      if (row.open !== 1) continue;
      if (attempt(() => this.#run(row))) this.#counts.runs++;
      else this.#counts.runsLost++;
    }
  }

  /** Reads everything of the run before it writes the first row. */
  #run(row: SqlRow): void {
    const run = runFromRow(row);
    const of = (table: string) =>
      this.#source.query(`SELECT * FROM ${table} WHERE run = ?`).all(row.n as number) as SqlRow[];
    const steps = of("steps").map((step) => stepFromRow(run.id, step));
    const attempts = of("attempts").map((item) => attemptFromRow(run.id, item));
    const version = this.#source.query("SELECT body FROM definitions WHERE hash = ?").get(run.definition);
    const definition = fromJson((version as { body: string }).body) as unknown as PipelineDefinition;
    const { events, runs } = this.#parts;
    const event = row.event_n === null ? undefined : this.#event(row.event_n as number);
    let eventN: number | null = null;
    if (event)
      eventN = events.insert([event], this.#nowMs, false)[0] || events.find(event.source, event.id)!.n;
    runs.insert({ run, steps, definition, records: [] }, eventN);
    const n = runs.number(run.id)!;
    for (const item of attempts) runs.putAttempt(n, item);
  }
}

function quietly<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}

function attempt(work: () => void): boolean {
  try {
    work();
    return true;
  } catch {
    return false;
  }
}
