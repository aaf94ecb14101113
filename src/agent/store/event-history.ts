import type { Database } from "bun:sqlite";
import { LANES } from "../../model/record.ts";
import type { WriteGate } from "../../storage/write-gate.ts";
import { type Doomed, doomed, type Retention, type TableFacts } from "./retention.ts";
import type { StoreParts } from "./store-parts.ts";
import type { Trimmed, TrimNow } from "./trim-step.ts";

/** Deletes the oldest events. One that an open run is about stays where it is, and those behind it go. */
export class EventHistory {
  readonly #database: Database;
  readonly #parts: StoreParts;
  readonly #retention: Retention;
  readonly #delete;
  /** Where the next step goes on: behind events that open runs hold, which have their turn with the next trimming. */
  #from = 0;
  #exhausted = false;

  constructor(database: Database, gate: WriteGate, parts: StoreParts, retention: Retention) {
    this.#database = database;
    this.#parts = parts;
    this.#retention = retention;
    this.#delete = gate.prepare(database, "events.trim", "DELETE FROM events WHERE n BETWEEN ? AND ?");
  }

  /** After a roll-back nothing of the last step was done. */
  load(): void {
    this.beginAnew();
    this.#exhausted = false;
  }

  beginAnew(): void {
    this.#from = 0;
  }

  /** The file was too large, and there was no event that may go. */
  get exhausted(): boolean {
    return this.#exhausted;
  }

  trim(now: TrimNow, rows: number): Trimmed {
    const facts = this.#facts(now);
    const due = doomed(facts, this.#retention.events, rows);
    this.#exhausted = due === null && now.tooLarge;
    if (due === null) return { touched: 0, more: false };
    // Which events open runs are about is read in pages too.
    if (!this.#parts.runs.heldEvents.ready()) return { touched: 0, more: true };
    return { touched: this.#step(due, facts, now), more: true };
  }

  #step({ reason, to, rows }: Doomed, { rows: before }: TableFacts, { monoMs }: TrimNow): number {
    const { events, trimCounts, runs } = this.#parts;
    const numbers = this.#numbers(to, rows);
    this.#from = numbers.at(-1) ?? to;
    let gone = 0;
    for (const [low, high] of ranges(numbers, (n) => runs.heldEvents.has(n))) gone += this.#delete(low, high);
    if (gone > 0) events.removed(gone);
    trimCounts.add("events", reason, gone, before, monoMs);
    return numbers.length;
  }

  #facts({ trustedMs, monoMs, tooLarge }: TrimNow): TableFacts {
    const { events, marks, trimCounts } = this.#parts;
    const { ageMs } = this.#retention.events;
    const rows = events.count();
    const first = this.#numbers(Number.MAX_SAFE_INTEGER, 1)[0] ?? events.last() + 1;
    // The newest row stays whatever happens: numbers go on from it.
    const neededThough = Math.min(events.last(), this.#firstReferenced());
    return {
      rows,
      first,
      neededFrom: Math.min(neededThough, this.#firstUnread(rows)),
      neededThough,
      agedTo: marks.before("events", trustedMs - ageMs),
      ageAllowance: trimCounts.allowance("events", rows, monoMs),
      tooLarge,
    };
  }

  #numbers(to: number, limit: number): number[] {
    const rows = this.#database
      .query("SELECT n FROM events WHERE n > ? AND n <= ? ORDER BY n LIMIT ?")
      .all(this.#from, to, limit) as { n: number }[];
    return rows.map(({ n }) => n);
  }

  /** The oldest event that an outbox row points to. */
  #firstReferenced(): number {
    const row = this.#database
      .query("SELECT event_n FROM outbox WHERE lane = ? ORDER BY lane, segment, number LIMIT 1")
      .get(LANES.events) as { event_n: number | null } | null;
    return row?.event_n ?? Number.MAX_SAFE_INTEGER;
  }

  /** An output that has stood still for too long, is disabled or gone from the configuration holds no events back. */
  #firstUnread(rows: number): number {
    const { heldForOutputs, outputs } = this.#retention;
    const read = rows > heldForOutputs ? undefined : this.#parts.values.lowestCursor(outputs);
    return read === undefined ? Number.MAX_SAFE_INTEGER : read + 1;
  }
}

/** Neighbours go with one statement. */
function ranges(numbers: number[], held: (n: number) => boolean): [low: number, high: number][] {
  const found: [number, number][] = [];
  let open: [number, number] | undefined;
  for (const n of numbers) {
    if (held(n)) open = undefined;
    else if (open) open[1] = n;
    else found.push((open = [n, n]));
  }
  return found;
}
