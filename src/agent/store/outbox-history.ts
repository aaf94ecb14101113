import type { Database } from "bun:sqlite";
import type { WriteGate } from "../../storage/write-gate.ts";
import type { HistoryMarks, MarkName } from "./history-marks.ts";
import { isNext } from "./outbox-segments.ts";
import type { SentCap } from "./retention.ts";
import type { StreamHead, StreamHeads } from "./stream-heads.ts";
import type { Trimmed, TrimNow } from "./trim-step.ts";

interface SentRow {
  number: number;
  size: number;
}

/**
 * Lets go of outbox rows that the hub has acknowledged, by count, age and size, and of closed segments without rows. Rows of
 * a segment stay while an older one of the lane waits for the hub: in a new epoch all of them are sent again, in order.
 */
export class OutboxHistory {
  readonly #database: Database;
  readonly #heads: StreamHeads;
  readonly #marks: HistoryMarks;
  readonly #cap: SentCap;
  readonly #delete;
  readonly #forget;
  #epoch = "";

  constructor(database: Database, gate: WriteGate, heads: StreamHeads, marks: HistoryMarks, cap: SentCap) {
    this.#database = database;
    this.#heads = heads;
    this.#marks = marks;
    this.#cap = cap;
    this.#delete = gate.prepare(
      database,
      "outbox.trim",
      "DELETE FROM outbox WHERE lane = ? AND segment = ? AND number <= ?",
    );
    this.#forget = gate.prepare(
      database,
      "streams.forget-segment",
      "DELETE FROM streams WHERE epoch = ? AND lane = ? AND segment = ?",
    );
  }

  load(): void {
    this.#epoch = "";
  }

  trim({ trustedMs }: TrimNow, rows: number): Trimmed {
    this.#forgetOldMarks();
    let touched = 0;
    let more = false;
    // What matters least goes first where there is too much by size.
    const heads = this.#heads.all().toSorted((a, b) => b.lane - a.lane || a.segment - b.segment);
    for (const head of heads) {
      if (head.acknowledged > head.trimmed)
        this.#marks.note(nameOf(this.#heads.epoch, head), head.acknowledged, trustedMs, this.#cap.ageMs);
      const gone = touched < rows ? this.#trimHead(head, heads, trustedMs, rows - touched) : 0;
      touched += gone;
      if (gone > 0 && touched >= rows) more = true;
    }
    this.#forgetSegments(heads);
    return { touched, more };
  }

  /** The oldest rows of a stream, at most so many; how many went. */
  #trimHead(head: StreamHead, heads: StreamHead[], trustedMs: number, most: number): number {
    if (head.acknowledged === head.trimmed || !isNext(heads, head)) return 0;
    const name = nameOf(this.#heads.epoch, head);
    const to = Math.max(
      head.acknowledged - Math.max(0, this.#cap.rows - keptLater(heads, head)),
      this.#marks.before(name, trustedMs - this.#cap.ageMs),
    );
    let excess = heads.reduce((sum, { sentBytes }) => sum + sentBytes, 0) - this.#cap.bytes;
    if (to <= head.trimmed && excess <= 0) return 0;
    const gone: SentRow[] = [];
    for (const row of this.#oldest(head, most)) {
      if (row.number > to && excess <= 0) break;
      gone.push(row);
      excess -= row.size;
    }
    if (gone.length > 0) this.#trimTo(head, gone);
    return gone.length;
  }

  #oldest({ lane, segment, trimmed, acknowledged }: StreamHead, most: number): Iterable<SentRow> {
    return this.#database
      .query(
        `SELECT number, size FROM outbox WHERE lane = ? AND segment = ? AND number > ? AND number <= ?
          ORDER BY number LIMIT ?`,
      )
      .iterate(lane, segment, trimmed, acknowledged, most) as Iterable<SentRow>;
  }

  #trimTo(head: StreamHead, gone: SentRow[]): void {
    const { number } = gone.at(-1)!;
    const row = this.#database
      .query("SELECT hash FROM outbox WHERE lane = ? AND segment = ? AND number = ?")
      .get(head.lane, head.segment, number) as { hash: Uint8Array };
    this.#delete(head.lane, head.segment, number);
    head.trimmed = number;
    head.trimmedHash = row.hash.slice();
    head.sentBytes = Math.max(0, head.sentBytes - gone.reduce((sum, { size }) => sum + size, 0));
    this.#heads.changed(head);
    this.#marks.forget(nameOf(this.#heads.epoch, head), number);
  }

  #forgetSegments(heads: StreamHead[]): void {
    const ended = heads.filter(({ state, trimmed, last }) => state === "closed" && trimmed === last);
    for (const [, ends] of Map.groupBy(ended, ({ lane }) => lane)) {
      for (const head of ends.slice(0, Math.max(0, ends.length - this.#cap.ends))) {
        this.#forget(this.#heads.epoch, head.lane, head.segment);
        this.#marks.forget(nameOf(this.#heads.epoch, head), Number.MAX_SAFE_INTEGER);
        this.#heads.forget(head);
      }
    }
  }

  /** Numbers begin anew in each epoch. */
  #forgetOldMarks(): void {
    const { epoch } = this.#heads;
    if (this.#epoch === epoch) return;
    this.#epoch = epoch;
    for (const name of this.#marks.names("sent/"))
      if (!name.startsWith(`sent/${epoch}/`)) this.#marks.forget(name, Number.MAX_SAFE_INTEGER);
  }
}

function nameOf(epoch: string, { lane, segment }: StreamHead): MarkName {
  return `sent/${epoch}/${lane}/${segment}`;
}

/** Rows of a lane's later segments that are acknowledged and here. */
function keptLater(heads: StreamHead[], { lane, segment }: StreamHead): number {
  return heads
    .filter((head) => head.lane === lane && head.segment > segment)
    .reduce((sum, { acknowledged, trimmed }) => sum + acknowledged - trimmed, 0);
}
