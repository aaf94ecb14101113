import type { Database } from "bun:sqlite";
import type { WriteGate } from "../../storage/write-gate.ts";
import type { StreamHead, StreamHeads } from "./stream-heads.ts";
import type { Trimmed } from "./trim-step.ts";

/** Lets go of outbox rows that the hub has acknowledged, but for the newest of each stream. */
export class OutboxHistory {
  readonly #database: Database;
  readonly #heads: StreamHeads;
  readonly #keep: number;
  readonly #delete;

  constructor(database: Database, gate: WriteGate, heads: StreamHeads, keep: number) {
    this.#database = database;
    this.#heads = heads;
    this.#keep = keep;
    this.#delete = gate.prepare(
      database,
      "outbox.trim",
      "DELETE FROM outbox WHERE lane = ? AND segment = ? AND number <= ?",
    );
  }

  trim(rows: number): Trimmed {
    let touched = 0;
    let more = false;
    for (const head of this.#heads.all()) {
      const target = head.acknowledged - this.#keep;
      const to = Math.min(target, head.trimmed + rows - touched);
      if (to > head.trimmed) touched += this.#trimTo(head, to);
      if (head.trimmed < target && touched > 0) more = true;
    }
    return { touched, more };
  }

  #trimTo(head: StreamHead, to: number): number {
    const row = this.#database
      .query("SELECT hash FROM outbox WHERE lane = ? AND segment = ? AND number = ?")
      .get(head.lane, head.segment, to) as { hash: Uint8Array } | null;
    if (!row) return 0;
    this.#delete(head.lane, head.segment, to);
    const gone = to - head.trimmed;
    head.trimmed = to;
    head.trimmedHash = row.hash.slice();
    this.#heads.changed(head);
    return gone;
  }
}
