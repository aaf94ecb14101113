import type { Database } from "bun:sqlite";
import { HoldfastError } from "../../core/errors.ts";
import { LANES, RECORD_CLASSES } from "../../model/record.ts";
import { hashAfterLoss, rowHash, sameHash } from "../../protocol/chain.ts";
import { parseLoss } from "../../protocol/loss.ts";
import type { WriteGate } from "../../storage/write-gate.ts";
import type { AcknowledgeCommand, PackedBatch, RenewEpochCommand } from "./commands.ts";
import { wholeBody } from "./envelope.ts";
import type { KeyValues } from "./key-values.ts";
import type { StreamHead, StreamHeads } from "./stream-heads.ts";

export interface OutboxRow {
  number: number;
  class: number;
  hash: Uint8Array;
  body: string | null;
  /** Of the event, when the row is one; null when the event is gone. */
  stored: string | null;
  source: string;
  id: string;
  type: string;
}

export const SELECT_ROWS = `SELECT outbox.number, outbox.class, outbox.hash, outbox.body, events.body AS stored, sources.name AS source,
    events.id, events.type
  FROM outbox LEFT JOIN events ON events.n = outbox.event_n LEFT JOIN sources ON sources.n = events.source
  WHERE outbox.lane = ? AND outbox.segment = ? AND outbox.number > ? ORDER BY outbox.number LIMIT ?`;
/** Epochs whose streams stay listed. */
const KEPT_EPOCHS = 8;
const PAGE = 256;

/** What waits for the hub: batches out, acknowledgements in, a new epoch. */
export class OutboxRows {
  readonly #database: Database;
  readonly #heads: StreamHeads;
  readonly #values: KeyValues;
  readonly #deleteHeld;
  readonly #move;
  readonly #moveLoss;
  readonly #closeStreams;
  readonly #addEpoch;
  readonly #forgetStreams;
  readonly #encoder = new TextEncoder();

  constructor(database: Database, gate: WriteGate, heads: StreamHeads, values: KeyValues) {
    this.#database = database;
    this.#heads = heads;
    this.#values = values;
    const prepare = (label: string, sql: string) => gate.prepare(database, label, sql);
    this.#deleteHeld = prepare(
      "outbox.delete",
      "DELETE FROM outbox WHERE lane = ? AND segment = ? AND number <= ?",
    );
    this.#move = prepare(
      "outbox.renumber",
      "UPDATE outbox SET segment = ?, number = ?, hash = ? WHERE lane = ? AND segment = ? AND number = ?",
    );
    this.#moveLoss = prepare(
      "outbox.renumber-loss",
      "UPDATE outbox SET segment = ?, number = ?, body = ?, size = ? WHERE lane = ? AND segment = ? AND number = ?",
    );
    this.#closeStreams = prepare("streams.close", "UPDATE streams SET state = 'closed' WHERE epoch = ?");
    this.#addEpoch = prepare(
      "epochs.insert",
      "INSERT INTO epochs (epoch, reason, began_ms) VALUES (?, ?, ?)",
    );
    this.#forgetStreams = prepare(
      "streams.forget",
      `DELETE FROM streams WHERE epoch NOT IN (SELECT epoch FROM epochs ORDER BY n DESC LIMIT ${KEPT_EPOCHS})`,
    );
  }

  /**
   * Checks the rows against their chain as it reads them: damaged bytes are never sent as genuine. After a loss record a batch
   * holds no ordinary row: how far ahead of its mark the hub may be is then a number of rows.
   */
  read(lane: number, segment: number, first: number, maxRows: number, maxBytes: number): PackedBatch | null {
    const head = this.#heads.get(lane, segment);
    if (!head || first > head.last) return null;
    if (first <= head.trimmed || first < 1) {
      const message = `lane ${lane}, segment ${segment}: row ${first} is no longer in the store, rows begin at ${head.trimmed + 1}`;
      throw new HoldfastError("not_found", message);
    }
    const prevHash = this.hashOf(head, first - 1);
    let hash = prevHash;
    let due = first;
    let size = 0;
    const classes: number[] = [];
    const bodies: Uint8Array[] = [];
    const statement = this.#database.query(SELECT_ROWS);
    for (const row of statement.iterate(lane, segment, first - 1, maxRows) as Iterable<OutboxRow>) {
      const body = this.#encoder.encode(bodyOf(row));
      if (bodies.length > 0 && size + body.length > maxBytes) break;
      if (row.class !== RECORD_CLASSES.loss && classes.at(-1) === RECORD_CLASSES.loss) break;
      hash = hashAfter(hash, due, row, body, head);
      due = row.number + 1;
      size += body.length;
      classes.push(row.class);
      bodies.push(body);
    }
    if (bodies.length === 0) throw broken(head, first);
    const lengths = bodies.map((body) => body.length);
    const bytes = Buffer.concat(bodies, size);
    return {
      epoch: this.#heads.epoch,
      lane,
      segment,
      first,
      prevHash,
      lastHash: hash,
      classes,
      lengths,
      bytes,
    };
  }

  acknowledge(cursor: AcknowledgeCommand): void {
    const { epoch, lane, segment, number } = cursor;
    if (epoch !== this.#heads.epoch) {
      const message = `acknowledgement for epoch ${epoch}, but the store is in epoch ${this.#heads.epoch}: it is late and says nothing of these rows`;
      throw new HoldfastError("invalid", message);
    }
    const head = this.#heads.get(lane, segment);
    if (number === 0) return;
    this.#heads.flushRows();
    const where = `lane ${lane}, segment ${segment}, row ${number}`;
    if (!head || number > head.last) {
      const message = `the hub acknowledges ${where}, which this store never wrote (last is ${head?.last ?? 0}): it holds another history`;
      throw new HoldfastError("conflict", message);
    }
    // A row that is gone was acknowledged, and so compared, before.
    if (number < head.trimmed) return;
    if (number !== head.last) this.#requireNoLoss(head, number);
    if (!sameHash(this.hashOf(head, number), Buffer.from(cursor.hash, "hex"))) {
      throw new HoldfastError("conflict", `the hub holds another row than this store at ${where}: a fork`);
    }
    if (number <= head.acknowledged) return;
    const { rows, bytes } = this.#amount(head, head.acknowledged, number);
    head.acknowledged = number;
    head.rows -= rows;
    head.bytes -= bytes;
    head.sentBytes += bytes;
    this.#heads.changed(head);
  }

  /** Of all that wait it is known. */
  #amount(head: StreamHead, after: number, to: number): { rows: number; bytes: number } {
    const { lane, segment, last, rows, bytes } = head;
    if (to === last) return { rows, bytes };
    return this.#database
      .query(
        `SELECT count(*) AS rows, coalesce(sum(size), 0) AS bytes FROM outbox
          WHERE lane = ? AND segment = ? AND number > ? AND number <= ?`,
      )
      .get(lane, segment, after, to) as { rows: number; bytes: number };
  }

  /**
   * Rows that may have been sent never go into a loss record: a hub that stands in the middle of one has another history (of
   * this store before it was restored).
   */
  #requireNoLoss(head: StreamHead, number: number): void {
    if (!this.#isLost(head, number)) return;
    const message = `the hub acknowledges row ${number} of lane ${head.lane}, segment ${head.segment}, which this store gave up unsent: it holds another history`;
    throw new HoldfastError("conflict", message);
  }

  /** One of those that a loss record stands for, but the last. */
  #isLost(head: StreamHead, number: number): boolean {
    const loss = this.#nextLoss(head, number - 1);
    return loss !== null && loss.number !== number && parseLoss(loss.body).first <= number;
  }

  #nextLoss({ lane, segment }: StreamHead, after: number): { number: number; body: string } | null {
    const row = this.#database
      .query(
        "SELECT number, class, body FROM outbox WHERE lane = ? AND segment = ? AND number > ? ORDER BY number LIMIT 1",
      )
      .get(lane, segment, after) as { number: number; class: number; body: string } | null;
    return row?.class === RECORD_CLASSES.loss ? row : null;
  }

  /** Rows that the hub does not hold are numbered and chained afresh, in order, in segment 1 of each lane. */
  renew(command: RenewEpochCommand): void {
    this.#heads.flush();
    const old = this.#heads.all();
    for (const head of old) {
      const held = command.held.find((item) => item.lane === head.lane && item.segment === head.segment);
      if (held) this.#deleteHeld(head.lane, head.segment, held.number);
    }
    this.#closeStreams(this.#heads.epoch);
    this.#addEpoch(command.epoch, command.reason, command.nowMs);
    this.#values.setMeta("epoch", command.epoch);
    this.#forgetStreams();
    this.#heads.begin(command.epoch);
    for (const head of old) this.#carry(head);
    this.#heads.flush();
  }

  #carry(head: StreamHead): void {
    const statement = this.#database.query(SELECT_ROWS);
    for (let after = head.trimmed; after < head.last;) {
      const rows = statement.all(head.lane, head.segment, after, PAGE) as OutboxRow[];
      if (rows.length === 0) return;
      for (const row of rows) {
        if (row.class === RECORD_CLASSES.loss) this.#carryLoss(head, row);
        else {
          const place = this.#heads.advance(head.lane, row.class, bodyOf(row));
          this.#move(place.segment, place.last, place.lastHash, head.lane, head.segment, row.number);
        }
      }
      after = rows.at(-1)!.number;
    }
  }

  #carryLoss({ lane, segment }: StreamHead, row: OutboxRow): void {
    const { counts, lastHash, reason, atMs } = parseLoss(bodyOf(row));
    const { head, body } = this.#heads.advanceOver(lane, { counts, lastHash, reason, atMs });
    this.#moveLoss(head.segment, head.last, body, body.length, lane, segment, row.number);
  }

  /** Of a row that the stream still has, or of the last that it has no more. */
  hashOf(head: StreamHead, number: number): Uint8Array {
    if (number === head.trimmed) return head.trimmedHash.slice();
    if (number === head.last) return head.lastHash.slice();
    const row = this.#database
      .query("SELECT hash FROM outbox WHERE lane = ? AND segment = ? AND number = ?")
      .get(head.lane, head.segment, number) as { hash: Uint8Array } | null;
    if (!row) throw this.#isLost(head, number) ? lost(head, number) : broken(head, number);
    return row.hash;
  }
}

export function bodyOf(row: OutboxRow): string {
  if (row.body !== null) return row.body;
  if (row.stored === null) {
    const what = row.class === RECORD_CLASSES.event ? "event" : "record";
    throw new HoldfastError("corrupt", `the ${what} of outbox row ${row.number} is gone`);
  }
  return wholeBody(row.source, row.id, row.type, row.stored);
}

/** The hash of a row, made anew; throws where it is not the stored one. */
function hashAfter(
  previous: Uint8Array,
  due: number,
  row: OutboxRow,
  body: Uint8Array,
  head: StreamHead,
): Uint8Array {
  if (row.class === RECORD_CLASSES.loss) return hashOfLoss(previous, due, row, body, head);
  const hash = rowHash(previous, due, row.class, body);
  if (!sameHash(hash, row.hash) || row.number !== due) throw broken(head, row.number);
  return hash;
}

function hashOfLoss(
  previous: Uint8Array,
  due: number,
  row: OutboxRow,
  body: Uint8Array,
  head: StreamHead,
): Uint8Array {
  let loss;
  let hash;
  try {
    loss = parseLoss(body);
    hash = loss.first < due ? row.hash : hashAfterLoss(previous, due - 1, body);
  } catch {
    throw broken(head, row.number);
  }
  if (loss.first < due) throw lost(head, due);
  if (!sameHash(hash, row.hash) || row.number !== loss.last) throw broken(head, row.number);
  return hash;
}

function lost(head: StreamHead, number: number): HoldfastError {
  const message = `lane ${head.lane}, segment ${head.segment}: row ${number} is one of those that a loss record stands for`;
  return new HoldfastError("not_found", message);
}

function broken(head: StreamHead, number: number): HoldfastError {
  const lane = Object.entries(LANES).find(([, value]) => value === head.lane)?.[0] ?? head.lane;
  const message = `lane ${lane}, segment ${head.segment}: row ${number} is missing or its bytes are not those that were committed: restart the agent to set the damaged store aside`;
  return new HoldfastError("corrupt", message);
}
