import type { Database } from "bun:sqlite";
import { HoldfastError } from "../../core/errors.ts";
import { LANES, type LossRecordBody, RECORD_CLASSES, ZERO_HASH } from "../../model/record.ts";
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
  /** Of rows that are not acknowledged; what a loss record stands for is one row. */
  rows: number;
  bytes: number;
  /** Of rows that are acknowledged and still here. */
  sentBytes: number;
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
  rows: number;
  bytes: number;
  sent_bytes: number;
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
  readonly #insertLoss;
  readonly #write;
  readonly #eventHashes = slots();
  readonly #recordHashes = slots();
  #events = 0;
  #records = 0;

  constructor(database: Database, gate: WriteGate) {
    this.#database = database;
    const head = "INSERT INTO outbox (lane, segment, number, class, hash, event_n, size)";
    const tuple = `(${LANES.events}, ?, ?, ${RECORD_CLASSES.event}, ?, ?, ?)`;
    this.#insertEvents = new BulkInsert(database, gate, "outbox.event", head, tuple);
    const records = "INSERT INTO outbox (lane, segment, number, class, hash, body, size)";
    this.#insertRecords = new BulkInsert(database, gate, "outbox.record", records, "(?, ?, ?, ?, ?, ?, ?)");
    this.#insertLoss = gate.prepare(
      database,
      "outbox.loss",
      `INSERT INTO outbox (lane, segment, number, class, hash, body, size) VALUES (?, ?, ?, ${RECORD_CLASSES.loss}, ?, ?, ?)`,
    );
    this.#write = gate.prepare(
      database,
      "streams.head",
      `INSERT OR REPLACE INTO streams (epoch, lane, segment, state, first_link, last, last_hash, acknowledged, trimmed,
        trimmed_hash, rows, bytes, sent_bytes) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
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
        rows: row.rows,
        bytes: row.bytes,
        sentBytes: row.sent_bytes,
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

  /** Ends the open segment of a lane that has rows: what comes next goes into one that begins with its last hash. */
  close(lane: number): void {
    const head = this.#open.get(lane);
    if (!head || head.last === 0) return;
    head.state = "closed";
    this.#dirty.add(head);
    this.#dirty.add(this.#put(freshHead(lane, head.segment + 1, head.lastHash)));
  }

  /** Of a closed segment, nothing is kept any more. */
  forget(head: StreamHead): void {
    this.#heads.delete(`${head.lane}/${head.segment}`);
    this.#dirty.delete(head);
  }

  append(lane: number, recordClass: number, body: string): void {
    const size = Buffer.byteLength(body);
    const head = this.advance(lane, recordClass, body, size);
    const hash = this.#recordHashes[this.#records]!;
    hash.set(head.lastHash);
    const { params } = this.#insertRecords;
    const at = this.#records * 7;
    params[at] = lane;
    params[at + 1] = head.segment;
    params[at + 2] = head.last;
    params[at + 3] = recordClass;
    params[at + 4] = hash;
    params[at + 5] = body;
    params[at + 6] = size;
    if (++this.#records === BULK_ROWS) this.#flushRecords();
  }

  /** Gives out the next number and hash of a lane; the caller writes the row. */
  advance(lane: number, recordClass: number, body: string, size = Buffer.byteLength(body)): StreamHead {
    const head = this.#openHead(lane);
    head.last++;
    head.rows++;
    head.bytes += size;
    rowHashInto(head.lastHash, head.last, recordClass, body, head.lastHash);
    this.#dirty.add(head);
    this.added = true;
    return head;
  }

  /**
   * Gives out the numbers of rows that are gone, at the end of a lane; the caller writes the row. The hash after it is kept
   * when it is known, so that the same loss is recognised in another epoch.
   */
  advanceOver(lane: number, lost: Omit<LossRecordBody, "first" | "last" | "prevHash" | "signature">) {
    const head = this.#openHead(lane);
    const count = Object.values(lost.counts).reduce((sum, each) => sum + each, 0);
    const prevHash = Buffer.from(head.lastHash).toString("hex");
    const loss: LossRecordBody = { first: head.last + 1, last: head.last + count, ...lost, prevHash };
    const body = JSON.stringify(loss);
    head.last = loss.last;
    head.lastHash.set(Buffer.from(loss.lastHash, "hex"));
    head.rows++;
    head.bytes += body.length;
    this.#dirty.add(head);
    this.added = true;
    return { head, body };
  }

  /** The row of a loss record; that it counts in its stream is the caller's. */
  insertLoss({ lane, segment }: StreamHead, number: number, hash: Uint8Array, body: string): void {
    this.#insertLoss(lane, segment, number, hash, body, body.length);
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
    const size = Buffer.byteLength(body);
    const head = this.advance(LANES.events, RECORD_CLASSES.event, body, size);
    const hash = this.#eventHashes[this.#events]!;
    hash.set(head.lastHash);
    const { params } = this.#insertEvents;
    const at = this.#events * 5;
    params[at] = head.segment;
    params[at + 1] = head.last;
    params[at + 2] = hash;
    params[at + 3] = n;
    params[at + 4] = size;
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
        head.rows,
        head.bytes,
        head.sentBytes,
      );
    }
    this.#dirty.clear();
  }

  #openHead(lane: number): StreamHead {
    return this.#open.get(lane) ?? this.#put(freshHead(lane, 1, ZERO_HASH));
  }

  #put(head: StreamHead): StreamHead {
    this.#heads.set(`${head.lane}/${head.segment}`, head);
    if (head.state === "open") this.#open.set(head.lane, head);
    return head;
  }
}

function freshHead(lane: number, segment: number, firstLink: Uint8Array): StreamHead {
  return {
    lane,
    segment,
    state: "open",
    firstLink: firstLink.slice(),
    last: 0,
    lastHash: firstLink.slice(),
    acknowledged: 0,
    trimmed: 0,
    trimmedHash: firstLink.slice(),
    rows: 0,
    bytes: 0,
    sentBytes: 0,
  };
}

/** The hash of a row must stand still until the row is written. */
function slots(): Uint8Array[] {
  return Array.from({ length: BULK_ROWS }, () => new Uint8Array(32));
}
