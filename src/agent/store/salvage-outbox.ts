import { LANES, type LaneNumber, type RecordClassNumber, ZERO_HASH } from "../../model/record.ts";
import { rowHash, sameHash } from "../../protocol/chain.ts";
import { readableRows } from "./readable-rows.ts";
import type { SqlRow } from "./run-columns.ts";
import { quietly, type SalvageCounts, type SalvageSource } from "./salvage-source.ts";
import type { StoreParts } from "./store-parts.ts";

/** Carries rows that the hub has not acknowledged from a damaged store into a new epoch. */
export class OutboxSalvage {
  readonly #source: SalvageSource;
  readonly #parts: StoreParts;
  readonly #counts: SalvageCounts;
  readonly #nowMs: number;

  constructor(source: SalvageSource, parts: StoreParts, counts: SalvageCounts, nowMs: number) {
    this.#source = source;
    this.#parts = parts;
    this.#counts = counts;
    this.#nowMs = nowMs;
  }

  all(): void {
    for (const lane of Object.values(LANES))
      for (const segment of this.#segments(lane)) this.#stream(lane, segment);
  }

  #segments(lane: number): number[] {
    const found = quietly(() =>
      this.#source.database
        .query("SELECT DISTINCT segment FROM outbox WHERE lane = ? ORDER BY segment")
        .all(lane),
    ) as { segment: number }[] | undefined;
    return found?.map((row) => row.segment) ?? [1];
  }

  /** Rows after the acknowledged one go on in order, unless their bytes contradict their hash. */
  #stream(lane: LaneNumber, segment: number): void {
    const state = quietly(() =>
      this.#source.database
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
    return this.#source.database
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
    const event = row.body === null ? this.#source.event(row.event_n as number) : undefined;
    const body = event ? event.body : (row.body as string | null);
    const recordClass = row.class as RecordClassNumber;
    if (body === null) return false;
    if (previous && !sameHash(rowHash(previous, row.at as number, recordClass, body), row.hash as Uint8Array))
      return false;
    if (event) return this.#parts.events.insert([event], this.#nowMs)[0]! > 0;
    this.#parts.heads.append(lane, recordClass, body);
    return true;
  }
}
