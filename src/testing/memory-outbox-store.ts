import { HoldfastError } from "../core/errors.ts";
import type { OutboxStore, StoredStream } from "../agent/outbox/ports.ts";
import { type RecordBatch, type StreamCursor, ZERO_HASH } from "../model/record.ts";
import { rowHash, sameHash } from "../protocol/chain.ts";

interface Stream {
  lane: number;
  segment: number;
  rows: { class: number; body: Buffer; hash: Uint8Array }[];
  acknowledged: number;
  /** Rows up to here are forgotten. */
  trimmed: number;
  firstLink: Uint8Array;
  closed: boolean;
}

/** The outbox half of the agent's store, in memory: numbers, chains, cursors and epochs as the real one keeps them. */
export class MemoryOutboxStore implements OutboxStore {
  readonly facts = { epoch: "epoch-1" };
  readonly renewals: { reason: string; held: { lane: number; segment: number; number: number }[] }[] = [];
  #epoch = "epoch-1";
  #streams: Stream[] = [];
  #listeners: (() => void)[] = [];

  append(lane: number, ...bodies: string[]): void {
    const stream = this.#open(lane);
    for (const body of bodies) {
      const previous = stream.rows.at(-1)?.hash ?? stream.firstLink;
      const bytes = Buffer.from(body);
      stream.rows.push({ class: 1, body: bytes, hash: rowHash(previous, stream.rows.length + 1, 1, bytes) });
    }
    for (const listener of this.#listeners) listener();
  }

  /** Forgets acknowledged rows up to `number`, as retention does. */
  trim(lane: number, number: number): void {
    this.#open(lane).trimmed = number;
  }

  /** A copy of this store as it stands, as a restored backup would be. */
  copy(): MemoryOutboxStore {
    const other = new MemoryOutboxStore();
    other.#streams = this.#streams.map((stream) => ({ ...stream, rows: [...stream.rows] }));
    return other;
  }

  /** Forgets a closed segment, as retention does. */
  forget(lane: number, segment: number): void {
    this.#streams = this.#streams.filter((one) => one.lane !== lane || one.segment !== segment);
  }

  async streams(): Promise<StoredStream[]> {
    return this.#streams.map(({ lane, segment, rows, acknowledged, closed, firstLink }) => ({
      ...{ lane, segment, last: rows.length, lastHash: rows.at(-1)?.hash ?? firstLink },
      ...{ acknowledged, closed, firstLink, rows: rows.length - acknowledged },
      bytes: rows.slice(acknowledged).reduce((sum, { body }) => sum + body.length, 0),
    }));
  }

  async readBatch(lane: number, segment: number, first: number, maxRows: number, maxBytes: number) {
    const stream = this.#streams.find((one) => one.lane === lane && one.segment === segment);
    if (!stream || first > stream.rows.length) return null;
    if (first <= stream.trimmed)
      throw new HoldfastError("not_found", `row ${first} is no longer in the store`);
    const records: RecordBatch["records"] = [];
    let bytes = 0;
    for (let number = first; number <= stream.rows.length && records.length < maxRows; number++) {
      const row = stream.rows[number - 1]!;
      bytes += row.body.length;
      if (records.length > 0 && bytes > maxBytes) break;
      records.push({ number, class: row.class, body: row.body });
    }
    return {
      epoch: this.#epoch,
      lane,
      segment,
      first,
      prevHash: stream.rows[first - 2]?.hash ?? stream.firstLink,
      lastHash: stream.rows[first + records.length - 2]!.hash,
      records,
    };
  }

  async acknowledge(cursor: StreamCursor): Promise<void> {
    const stream = this.#streams.find((one) => one.lane === cursor.lane && one.segment === cursor.segment);
    const row = stream?.rows[cursor.number - 1];
    if (!stream || !row || !sameHash(row.hash, cursor.hash)) {
      throw new HoldfastError(
        "conflict",
        `row ${cursor.number} of lane ${cursor.lane} has another hash here`,
      );
    }
    stream.acknowledged = Math.max(stream.acknowledged, cursor.number);
  }

  async closeSegments(lanes: number[]): Promise<number[]> {
    return lanes.filter((lane) => {
      const stream = this.#open(lane);
      if (stream.rows.length === 0) return false;
      stream.closed = true;
      this.#streams.push(fresh(lane, stream.segment + 1, stream.rows.at(-1)!.hash));
      return true;
    });
  }

  async renewEpoch(
    reason: string,
    held: { lane: number; segment: number; number: number }[],
  ): Promise<string> {
    this.renewals.push({ reason, held });
    const old = this.#streams;
    this.#streams = [];
    this.#epoch = `epoch-${this.renewals.length + 1}`;
    for (const stream of old) {
      const number =
        held.find((one) => one.lane === stream.lane && one.segment === stream.segment)?.number ?? 0;
      const rest = stream.rows.slice(Math.max(number, stream.trimmed));
      this.append(stream.lane, ...rest.map((row) => row.body.toString()));
    }
    return this.#epoch;
  }

  onOutbox(listener: () => void): void {
    this.#listeners.push(listener);
  }

  #open(lane: number): Stream {
    const found = this.#streams.find((stream) => stream.lane === lane && !stream.closed);
    if (found) return found;
    const stream = fresh(lane, 1, ZERO_HASH);
    this.#streams.push(stream);
    return stream;
  }
}

function fresh(lane: number, segment: number, firstLink: Uint8Array): Stream {
  return { lane, segment, rows: [], acknowledged: 0, trimmed: 0, firstLink, closed: false };
}
