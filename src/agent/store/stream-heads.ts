import type { Database } from "bun:sqlite";
import { HoldfastError } from "../../core/errors.ts";
import { LANES, RECORD_CLASSES, ZERO_HASH } from "../../model/record.ts";
import { rowHashInto } from "../../protocol/chain.ts";
import { BULK_ROWS, BulkInsert } from "../../storage/bulk-insert.ts";
import type { WriteGate } from "../../storage/write-gate.ts";
import { storedJson } from "./stored-json.ts";

/** A stream of the current epoch, as the thread holds it between commits. */
export interface StreamHead {
  lane: number;
  segment: number;
  state: "open" | "closed";
  firstLink: Uint8Array;
  last: number;
  lastHash: Uint8Array;
  acknowledged: number;
  /** Rows up to here are no longer in the store; `trimmedHash` is the hash of that row. */
  trimmed: number;
  trimmedHash: Uint8Array;
}

interface StreamRow {
  lane: number;
  segment: number;
  state: "open" | "closed";
  first_link: Uint8Array;
  last: number;
  last_hash: Uint8Array;
  acknowledged: number;
  trimmed: number;
  trimmed_hash: Uint8Array;
}

/**
 * Gives outbox rows their number and hash. The heads live in memory and are written once a transaction, not once a row, and
 * rows gather over the operations of a transaction until there are enough for one statement; `load` reads the heads again
 * after a roll-back, and forgets what had gathered.
 */
export class StreamHeads {
  /** Rows were added since the last commit. */
  added = false;
  epoch = "";
  readonly #database: Database;
  readonly #heads = new Map<string, StreamHead>();
  readonly #open = new Map<number, StreamHead>();
  readonly #dirty = new Set<StreamHead>();
  readonly #insertEvents: BulkInsert;
  readonly #insertRecords: BulkInsert;
  readonly #write;
  readonly #eventHashes = slots();
  readonly #recordHashes = slots();
  #events = 0;
  #records = 0;

  constructor(database: Database, gate: WriteGate) {
    this.#database = database;
    const head = "INSERT INTO outbox (lane, segment, number, class, hash, event_n)";
    const tuple = `(${LANES.events}, ?, ?, ${RECORD_CLASSES.event}, ?, ?)`;
    this.#insertEvents = new BulkInsert(database, gate, "outbox.event", head, tuple);
    const records = "INSERT INTO outbox (lane, segment, number, class, hash, body)";
    this.#insertRecords = new BulkInsert(database, gate, "outbox.record", records, "(?, ?, ?, ?, ?, ?)");
    this.#write = gate.prepare(
      database,
      "streams.head",
      "INSERT OR REPLACE INTO streams VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    );
  }

  load(): void {
    const meta = this.#database.query("SELECT value FROM meta WHERE key = 'epoch'").get() as {
      value: string;
    } | null;
    if (!meta) throw new HoldfastError("corrupt", "the store has no epoch: its file is damaged");
    this.epoch = storedJson<string>(meta.value);
    const rows = this.#database
      .query("SELECT * FROM streams WHERE epoch = ? ORDER BY lane, segment")
      .all(this.epoch) as StreamRow[];
    this.#heads.clear();
    this.#open.clear();
    this.#dirty.clear();
    this.#events = 0;
    this.#records = 0;
    this.added = false;
    for (const row of rows) {
      this.#put({
        lane: row.lane,
        segment: row.segment,
        state: row.state,
        firstLink: row.first_link.slice(),
        last: row.last,
        lastHash: row.last_hash.slice(),
        acknowledged: row.acknowledged,
        trimmed: row.trimmed,
        trimmedHash: row.trimmed_hash.slice(),
      });
    }
  }

  all(): StreamHead[] {
    return [...this.#heads.values()];
  }

  get(lane: number, segment: number): StreamHead | undefined {
    return this.#heads.get(`${lane}/${segment}`);
  }

  /** Marks a head that was changed, to be written with this transaction. */
  changed(head: StreamHead): void {
    this.#dirty.add(head);
  }

  append(lane: number, recordClass: number, body: string): void {
    const head = this.advance(lane, recordClass, body);
    const hash = this.#recordHashes[this.#records]!;
    hash.set(head.lastHash);
    const { params } = this.#insertRecords;
    const at = this.#records * 6;
    params[at] = lane;
    params[at + 1] = head.segment;
    params[at + 2] = head.last;
    params[at + 3] = recordClass;
    params[at + 4] = hash;
    params[at + 5] = body;
    if (++this.#records === BULK_ROWS) this.#flushRecords();
  }

  /** Gives out the next number and hash of a lane; the caller writes the row. */
  advance(lane: number, recordClass: number, body: string): StreamHead {
    const head = this.#openHead(lane);
    head.last++;
    rowHashInto(head.lastHash, head.last, recordClass, body, head.lastHash);
    this.#dirty.add(head);
    this.added = true;
    return head;
  }

  /** Fresh streams under a new epoch; those of the old one must have been written. */
  begin(epoch: string): void {
    this.epoch = epoch;
    this.#heads.clear();
    this.#open.clear();
    this.#dirty.clear();
  }

  /** The outbox row of an event that was just inserted as row `n`. */
  appendEvent(n: number, body: string): void {
    const head = this.advance(LANES.events, RECORD_CLASSES.event, body);
    const hash = this.#eventHashes[this.#events]!;
    hash.set(head.lastHash);
    const { params } = this.#insertEvents;
    const at = this.#events * 4;
    params[at] = head.segment;
    params[at + 1] = head.last;
    params[at + 2] = hash;
    params[at + 3] = n;
    if (++this.#events === BULK_ROWS) this.#flushEvents();
  }

  /** Writes the rows that have gathered; before anything that looks at the outbox table itself. */
  flushRows(): void {
    this.#flushEvents();
    this.#flushRecords();
  }

  #flushEvents(): void {
    const rows = this.#events;
    this.#events = 0;
    if (rows > 0) this.#insertEvents.run(rows);
  }

  #flushRecords(): void {
    const rows = this.#records;
    this.#records = 0;
    if (rows > 0) this.#insertRecords.run(rows);
  }

  /** Writes the rows and heads that this transaction moved. */
  flush(): void {
    this.flushRows();
    for (const head of this.#dirty) {
      this.#write(
        this.epoch,
        head.lane,
        head.segment,
        head.state,
        head.firstLink,
        head.last,
        head.lastHash,
        head.acknowledged,
        head.trimmed,
        head.trimmedHash,
      );
    }
    this.#dirty.clear();
  }

  #openHead(lane: number): StreamHead {
    return this.#open.get(lane) ?? this.#put(freshHead(lane));
  }

  #put(head: StreamHead): StreamHead {
    this.#heads.set(`${head.lane}/${head.segment}`, head);
    if (head.state === "open") this.#open.set(head.lane, head);
    return head;
  }
}

function freshHead(lane: number): StreamHead {
  return {
    lane,
    segment: 1,
    state: "open",
    firstLink: ZERO_HASH.slice(),
    last: 0,
    lastHash: ZERO_HASH.slice(),
    acknowledged: 0,
    trimmed: 0,
    trimmedHash: ZERO_HASH.slice(),
  };
}

/** The hash of a row must stand still until the row is written. */
function slots(): Uint8Array[] {
  return Array.from({ length: BULK_ROWS }, () => new Uint8Array(32));
}
