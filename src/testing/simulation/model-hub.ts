import { createHash } from "node:crypto";
import { RECORD_CLASSES, type RecordBatch, type StreamCursor, ZERO_HASH } from "../../model/record.ts";
import type { Seeded } from "../seeded.ts";

export interface HeldRecord {
  class: number;
  body: string;
}

interface HeldStream {
  epoch: string;
  lane: number;
  segment: number;
  number: number;
  hash: Uint8Array;
  firstLink: Uint8Array;
  /** Hash after each row, for a hub that goes back. */
  hashes: Uint8Array[];
  records: HeldRecord[];
  /** The hub's history was made another one than the agent's: nothing may be added to it. */
  forked: boolean;
}

/**
 * A hub as the agent's outbox sees it, with a durable copy of every row: takes rows in order, checks every number and
 * recomputes every hash by itself.
 */
export class ModelHub {
  readonly streams = new Map<string, HeldStream>();
  /** By the hash of the last row. */
  readonly #lost = new Map<string, { lane: number; rows: number }>();
  readonly #fail: (invariant: string, what: string) => void;

  constructor(fail: (invariant: string, what: string) => void) {
    this.#fail = fail;
  }

  cursors(): StreamCursor[] {
    return [...this.streams.values()].map(cursorOf);
  }

  /** Takes what is new of a batch; gives where it now stands, or where it stood when rows are missing in between. */
  receive(batch: RecordBatch): { kind: "ack" | "gap"; cursor: StreamCursor } {
    const stream = this.#streamOf(batch);
    if (batch.first > stream.number + 1) return { kind: "gap", cursor: cursorOf(stream) };
    const name = `epoch ${batch.epoch}, lane ${batch.lane}, segment ${batch.segment}`;
    if (stream.forked) this.#fail("chain", `rows of ${name} follow a hub's history that is not the agent's`);
    let hash = batch.prevHash;
    if (!same(hash, this.#hashAt(stream, batch.first - 1))) {
      this.#fail("chain", `row ${batch.first} of ${name} does not follow row ${batch.first - 1}`);
    }
    let due = batch.first;
    for (const record of batch.records) {
      const { number } = record;
      const loss = record.class === RECORD_CLASSES.loss ? lossOf(record.body) : null;
      if (loss && (loss.first !== due || !same(Buffer.from(loss.prevHash, "hex"), hash)))
        this.#fail("chain", `the loss from row ${loss.first} of ${name} on does not follow row ${due - 1}`);
      hash = loss ? Buffer.from(loss.lastHash, "hex") : linked(hash, number, record.class, record.body);
      if (number !== (loss?.last ?? due)) this.#fail("chain", `row ${due} of ${name} has number ${number}`);
      due = number + 1;
      if (number <= stream.number) continue;
      if (loss && loss.first <= stream.number) {
        this.#fail("nothing lost that is here", `rows from ${loss.first} on of ${name} are told as lost`);
      }
      stream.number = number;
      stream.hashes[number - 1] = hash;
      if (loss) this.#lost.set(loss.lastHash, { lane: batch.lane, rows: loss.last - loss.first + 1 });
      else stream.records.push({ class: record.class, body: Buffer.from(record.body).toString() });
    }
    if (!same(hash, batch.lastHash)) this.#fail("chain", `the hashes of ${name} do not add up`);
    stream.hash = stream.hashes.at(-1) ?? stream.hash;
    this.#checkLink(stream, name);
    return { kind: "ack", cursor: cursorOf(stream) };
  }

  /** Goes back to an older state of itself, as from a backup. */
  restore(epoch: string, random: Seeded): number {
    let lost = 0;
    for (const stream of this.streams.values()) {
      const back = Math.min(stream.number, random.int(0, 5));
      // Of an epoch that is over the agent keeps nothing that it could send again.
      if (stream.forked || back === 0 || stream.epoch !== epoch) continue;
      stream.number -= back;
      stream.hashes.length -= back;
      stream.records.length -= back;
      stream.hash = stream.hashes.at(-1) ?? stream.firstLink;
      lost += back;
    }
    return lost;
  }

  /** What it holds of one stream of this epoch becomes another history of the same length. */
  fork(epoch: string, random: Seeded): boolean {
    const streams = [...this.streams.values()].filter(
      (stream) => stream.epoch === epoch && stream.number > 0 && !stream.forked,
    );
    if (streams.length === 0) return false;
    const stream = random.pick(streams);
    stream.hash = stream.hash.map((byte) => byte ^ 255);
    stream.forked = true;
    return true;
  }

  /** Everything that it holds of a lane, epoch after epoch, each in the order in which it was committed. */
  records(lane: number): HeldRecord[] {
    const streams = [...this.streams.values()];
    const epochs = [...new Set(streams.map(({ epoch }) => epoch))];
    return streams
      .filter((stream) => stream.lane === lane)
      .toSorted((a, b) => epochs.indexOf(a.epoch) - epochs.indexOf(b.epoch) || a.segment - b.segment)
      .flatMap(({ records }) => records);
  }

  /** A segment begins with the last hash of the one before it, which may come later: then that passes it. */
  #checkLink({ epoch, lane, segment, number, hashes }: HeldStream, name: string): void {
    const next = this.streams.get(`${epoch}/${lane}/${segment + 1}`);
    const end =
      next === undefined ? -1 : hashes.findIndex((hash) => hash !== undefined && same(hash, next.firstLink));
    if (end >= 0 && end < number - 1) this.#fail("chain", `${name} goes on after the next segment began`);
  }

  #streamOf({ epoch, lane, segment, first, prevHash }: RecordBatch): HeldStream {
    const key = `${epoch}/${lane}/${segment}`;
    let stream = this.streams.get(key);
    if (!stream) {
      const firstLink = segment > 1 && first === 1 ? prevHash : ZERO_HASH;
      stream = {
        epoch,
        lane,
        segment,
        number: 0,
        hash: firstLink,
        firstLink,
        hashes: [],
        records: [],
        forked: false,
      };
      this.streams.set(key, stream);
    }
    return stream;
  }

  /** Rows of a lane that are told as lost. A loss that was carried into a new epoch is the same one. */
  lost(lane: number): number {
    return [...this.#lost.values()].reduce((sum, loss) => sum + (loss.lane === lane ? loss.rows : 0), 0);
  }

  #hashAt(stream: HeldStream, number: number): Uint8Array {
    return number === 0 ? stream.firstLink : (stream.hashes[number - 1] ?? ZERO_HASH);
  }
}

/** Read by itself, like the chain. */
function lossOf(body: Uint8Array): { first: number; last: number; prevHash: string; lastHash: string } {
  return JSON.parse(Buffer.from(body).toString()) as ReturnType<typeof lossOf>;
}

function cursorOf({ epoch, lane, segment, number, hash }: HeldStream): StreamCursor {
  return { epoch, lane, segment, number, hash };
}

function linked(previous: Uint8Array, number: number, recordClass: number, body: Uint8Array): Uint8Array {
  const place = Buffer.alloc(9);
  place.writeBigUInt64BE(BigInt(number));
  place[8] = recordClass;
  const content = createHash("sha256").update(body).digest();
  return createHash("sha256").update(previous).update(place).update(content).digest();
}

function same(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}
