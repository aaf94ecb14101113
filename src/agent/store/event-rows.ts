import type { Database, SQLQueryBindings } from "bun:sqlite";
import { systemCode } from "../../core/errors.ts";
import { BULK_ROWS, BulkInsert } from "../../storage/bulk-insert.ts";
import type { WriteGate } from "../../storage/write-gate.ts";
import { storedBody, wholeBody } from "./envelope.ts";
import type { KeyValues } from "./key-values.ts";
import type { EventFilter } from "./port.ts";
import type { StreamHeads } from "./stream-heads.ts";

export interface NewEvent {
  source: string;
  id: string;
  type: string;
  timeMs: number;
  body: string;
}

const INSERT = "INSERT INTO events (n, source, id, type, time_ms, recorded_ms, body)";
const SELECT = `SELECT events.n, sources.name AS source, events.id, events.type, events.body
  FROM events JOIN sources ON sources.n = events.source`;
const COLUMNS = 7;
/** Source names that are held in memory; an agent has about as many as triggers. */
const MAX_SOURCES = 10_000;
const DELETED = "deleted_events";
/** Numbers that one look for events of a kind goes through: some milliseconds. */
const LOOKED_AT = 5000;
/** Events with one id that are looked at. */
const MAX_SAME_ID = 16;

export interface EventPage {
  events: { n: number; body: string }[];
  /** Where to go on for more; null when there is no more. */
  next: EventFilter | null;
}

interface StoredEvent {
  n: number;
  source: string;
  id: string;
  type: string;
  body: string;
}

/** The events table: what is in it is unique by source and id and numbered in commit order. */
export class EventRows {
  readonly #database: Database;
  readonly #heads: StreamHeads;
  readonly #insert: BulkInsert;
  readonly #insertNew;
  readonly #addSource;
  readonly #sources = new Map<string, number>();
  readonly #values: KeyValues;
  #last = 0;
  /** Numbers that have no row any more: with them nobody need count the rows. */
  #deleted = 0;

  constructor(database: Database, gate: WriteGate, heads: StreamHeads, values: KeyValues) {
    this.#database = database;
    this.#heads = heads;
    this.#values = values;
    this.#insert = new BulkInsert(database, gate, "events.insert", INSERT, "(?, ?, ?, ?, ?, ?, ?)");
    this.#insertNew = gate.prepareList(
      database,
      "events.insert",
      `${INSERT} VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (source, id) DO NOTHING`,
    );
    this.#addSource = gate.prepare(database, "sources.insert", "INSERT INTO sources (name) VALUES (?)");
  }

  load(): void {
    this.#sources.clear();
    const row = this.#database.query("SELECT max(n) AS last FROM events").get() as { last: number | null };
    this.#last = row.last ?? 0;
    this.#deleted = (this.#values.meta(DELETED) as number | undefined) ?? 0;
  }

  /** Number of the event that was committed last; 0 is none. */
  last(): number {
    return this.#last;
  }

  /** Numbers are given out without gaps, and those that are gone are counted. */
  count(): number {
    return this.#last - this.#deleted;
  }

  /** When the oldest one came, by the host's clock. */
  oldestMs(): number | null {
    const row = this.#database.query("SELECT recorded_ms AS ms FROM events ORDER BY n LIMIT 1").get();
    return (row as { ms: number } | null)?.ms ?? null;
  }

  /** Takes note that rows were deleted. */
  removed(rows: number): void {
    this.#deleted += rows;
    this.#values.setMeta(DELETED, this.#deleted);
  }

  /**
   * Inserts the events that are not there yet, each with an outbox row unless `outbox` is false. Returns the row number of
   * each event, 0 for one that the store already had.
   */
  insert(events: NewEvent[], recordedMs: number, outbox = true): number[] {
    const numbers: number[] = [];
    for (let from = 0; from < events.length; from += BULK_ROWS) {
      const to = Math.min(from + BULK_ROWS, events.length);
      if (to - from < BULK_ROWS || !this.#insertChunk(events, from, recordedMs, numbers))
        this.#insertSingly(events, from, to, recordedMs, numbers);
      if (!outbox) continue;
      for (let i = from; i < to; i++)
        if (numbers[i]! > 0) this.#heads.appendEvent(numbers[i]!, events[i]!.body);
    }
    return numbers;
  }

  /** A full chunk with one statement; false when one of its events is a duplicate, and then nothing was inserted. */
  #insertChunk(events: NewEvent[], from: number, recordedMs: number, numbers: number[]): boolean {
    const params = this.#insert.params;
    for (let i = 0; i < BULK_ROWS; i++) {
      const event = events[from + i]!;
      const at = i * COLUMNS;
      params[at] = this.#last + i + 1;
      params[at + 1] = this.#source(event.source);
      params[at + 2] = event.id;
      params[at + 3] = event.type;
      params[at + 4] = event.timeMs;
      params[at + 5] = recordedMs;
      params[at + 6] = storedBody(event.source, event.id, event.type, event.body);
    }
    try {
      this.#insert.run(BULK_ROWS);
    } catch (error) {
      if (systemCode(error) === "SQLITE_CONSTRAINT_UNIQUE") return false;
      throw error;
    }
    for (let i = 0; i < BULK_ROWS; i++) numbers.push(this.#last + i + 1);
    this.#grow(BULK_ROWS);
    return true;
  }

  #insertSingly(events: NewEvent[], from: number, to: number, recordedMs: number, numbers: number[]): void {
    for (let i = from; i < to; i++) {
      const { source, id, type, timeMs, body } = events[i]!;
      const stored = storedBody(source, id, type, body);
      const n = this.#last + 1;
      const changes = this.#insertNew([n, this.#source(source), id, type, timeMs, recordedMs, stored]);
      numbers.push(changes > 0 ? n : 0);
      if (changes > 0) this.#grow(1);
    }
  }

  #grow(rows: number): void {
    this.#last += rows;
  }

  #source(name: string): number {
    const known = this.#sources.get(name);
    if (known !== undefined) return known;
    const find = this.#database.query("SELECT n FROM sources WHERE name = ?");
    let row = find.get(name) as { n: number } | null;
    if (!row) {
      this.#addSource(name);
      row = find.get(name) as { n: number };
    }
    if (this.#sources.size >= MAX_SOURCES) this.#sources.clear();
    this.#sources.set(name, row.n);
    return row.n;
  }

  find(source: string, id: string): { n: number; body: string } | null {
    const row = this.#database
      .query(`${SELECT} WHERE sources.name = ? AND events.id = ?`)
      .get(source, id) as StoredEvent | null;
    return row && whole(row);
  }

  /** Of whatever source: an event says of its cause only the id. The newest first. */
  byId(id: string): { n: number; body: string }[] {
    // One look into the index of identities for each source.
    const rows = this.#database
      .query(
        `SELECT events.n, sources.name AS source, events.id, events.type, events.body
          FROM sources CROSS JOIN events ON events.source = sources.n AND events.id = ?
          ORDER BY events.n DESC LIMIT ${MAX_SAME_ID}`,
      )
      .all(id) as StoredEvent[];
    return rows.map(whole);
  }

  at(n: number): { n: number; body: string } | null {
    const row = this.#database.query(`${SELECT} WHERE events.n = ?`).get(n) as StoredEvent | null;
    return row && whole(row);
  }

  /** Which of these events are here, by id. */
  known(source: string, ids: string[]): string[] {
    const rows = this.#database
      .query(
        `SELECT id FROM events WHERE source = (SELECT n FROM sources WHERE name = ?)
          AND id IN (SELECT value FROM json_each(?))`,
      )
      .all(source, JSON.stringify(ids)) as { id: string }[];
    return rows.map((row) => row.id);
  }

  /**
   * The newest first; with `after` the oldest first. One that looks for something looks at so many numbers at once: whoever
   * asks goes on from `next`, and commits have their turn between.
   */
  list(filter: EventFilter): EventPage {
    const { source, type, limit } = filter;
    const selective = source !== undefined || type !== undefined;
    const forward = filter.after !== undefined;
    let { after = 0, before = this.#last + 1 } = filter;
    if (selective && forward) before = Math.min(before, after + LOOKED_AT + 1);
    else if (selective) after = Math.max(after, before - LOOKED_AT - 1);
    const conditions = ["events.n > ?", "events.n < ?"];
    const params: SQLQueryBindings[] = [after, before];
    // The plus: in the order of the rows, and not by the index of identities with a sort behind it.
    if (source !== undefined) conditions.push("+events.source = (SELECT n FROM sources WHERE name = ?)");
    if (type !== undefined) conditions.push("events.type = ?");
    params.push(...[source, type].filter((value) => value !== undefined), limit);
    const order = `ORDER BY events.n ${forward ? "ASC" : "DESC"} LIMIT ?`;
    const rows = this.#database
      .query(`${SELECT} WHERE ${conditions.join(" AND ")} ${order}`)
      .all(...params) as StoredEvent[];
    const rest = { ...filter, limit: limit - rows.length };
    const over = forward ? before >= (filter.before ?? this.#last + 1) : after <= this.#deletedUpTo();
    const ended = rest.limit <= 0 || !selective || over;
    const next = ended ? null : forward ? { ...rest, after: before - 1 } : { ...rest, before: after + 1 };
    return { events: rows.map(whole), next };
  }

  /** No row has this number or a lower one. */
  #deletedUpTo(): number {
    const row = this.#database.query("SELECT n FROM events ORDER BY n LIMIT 1").get();
    return ((row as { n: number } | null)?.n ?? this.#last + 1) - 1;
  }

  after(n: number, limit: number): { n: number; body: string }[] {
    const rows = this.#database
      .query(`${SELECT} WHERE events.n > ? ORDER BY events.n LIMIT ?`)
      .all(n, limit) as StoredEvent[];
    return rows.map(whole);
  }
}

function whole(row: StoredEvent): { n: number; body: string } {
  return { n: row.n, body: wholeBody(row.source, row.id, row.type, row.body) };
}
