import {
  LANES,
  type LaneNumber,
  type LossRecordBody,
  RECORD_CLASSES,
  type RecordClassNumber,
  ZERO_HASH,
} from "../../model/record.ts";
import { hashAfterLoss, rowHash, sameHash } from "../../protocol/chain.ts";
import { parseLoss } from "../../protocol/loss.ts";
import { readableRows } from "./readable-rows.ts";
import type { SqlRow } from "./run-columns.ts";
import { LostRun } from "./salvage-lost-run.ts";
import { quietly, type SalvageCounts, type SalvageSource } from "./salvage-source.ts";
import type { StoreParts } from "./store-parts.ts";

/**
 * Carries rows that the hub has not acknowledged from a damaged store into a new epoch. Those that cannot be read, or whose
 * bytes contradict their hash, become loss records in their place.
 */
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
    for (const lane of Object.values(LANES)) {
      let held = true;
      for (const segment of this.#segments(lane)) held = this.#stream(lane, segment, held) && held;
    }
  }

  #segments(lane: number): number[] {
    const found = quietly(() =>
      this.#source.database
        .query("SELECT DISTINCT segment FROM outbox WHERE lane = ? ORDER BY segment")
        .all(lane),
    ) as { segment: number }[] | undefined;
    return found?.map((row) => row.segment) ?? [1];
  }

  /**
   * Rows after the acknowledged one go on in order, unless their bytes contradict their hash; all of them where the hub does
   * not hold every older segment of the lane, so that the newest state comes last. Whether it holds this one.
   */
  #stream(lane: LaneNumber, segment: number, held: boolean): boolean {
    const state = quietly(() =>
      this.#source.database
        .query(
          `SELECT acknowledged, last, trimmed, trimmed_hash FROM streams WHERE lane = ? AND segment = ?
            AND epoch = (SELECT json_extract(value, '$') FROM meta WHERE key = 'epoch')`,
        )
        .get(lane, segment),
    ) as { acknowledged: number; last: number; trimmed: number; trimmed_hash: Uint8Array } | null | undefined;
    const from = (held ? state?.acknowledged : state?.trimmed) ?? 0;
    const lost = new LostRun(lane, this.#parts, this.#counts, this.#source.roomForRows());
    let previous = state?.trimmed === from ? state.trimmed_hash : this.#hash(lane, segment, from);
    if (from === 0 && segment === 1) previous = ZERO_HASH;
    let at = from;
    for (const row of readableRows((after, limit) => this.#outbox(lane, segment, after, limit), from)) {
      const number = row.at as number;
      const loss = lossOf(row);
      const first = loss?.first ?? number;
      lost.missing(first - at - 1);
      const genuine = loss
        ? this.#carryLoss(lane, first === at + 1 ? previous : undefined, row, loss, lost)
        : this.#carry(lane, first === at + 1 ? previous : undefined, row, lost);
      if (!genuine) lost.add(row.class as number, number - first + 1, row.hash as Uint8Array);
      else if (!loss) this.#counts.outbox++;
      previous = row.hash as Uint8Array;
      at = number;
    }
    if (state) lost.missing(state.last - at);
    lost.end();
    return state?.acknowledged === state?.last;
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

  #carry(lane: LaneNumber, previous: Uint8Array | undefined, row: SqlRow, lost: LostRun): boolean {
    const event = row.body === null ? this.#source.event(row.event_n as number) : undefined;
    const body = event ? event.body : (row.body as string | null);
    const recordClass = row.class as RecordClassNumber;
    // A loss record that came here cannot be read.
    if (body === null || row.class === RECORD_CLASSES.loss) return false;
    if (previous && !sameHash(rowHash(previous, row.at as number, recordClass, body), row.hash as Uint8Array))
      return false;
    lost.end();
    if (event) return this.#parts.events.insert([event], this.#nowMs)[0]! > 0;
    this.#parts.heads.append(lane, recordClass, body);
    return true;
  }

  #carryLoss(
    lane: LaneNumber,
    previous: Uint8Array | undefined,
    row: SqlRow,
    { counts, lastHash, reason, atMs, first }: LossRecordBody,
    lost: LostRun,
  ): boolean {
    const known = quietly(() => previous && hashAfterLoss(previous, first - 1, row.body as string));
    if (previous && (!known || !sameHash(known, row.hash as Uint8Array))) return false;
    lost.end();
    const { head, body } = this.#parts.heads.advanceOver(lane, { counts, lastHash, reason, atMs });
    this.#parts.heads.insertLoss(head, head.last, head.lastHash, body);
    return true;
  }
}

/** Undefined for a row that is no loss record, or none that can be read. */
function lossOf(row: SqlRow): LossRecordBody | undefined {
  if (row.class !== RECORD_CLASSES.loss) return undefined;
  const loss = quietly(() => parseLoss(row.body as string));
  return loss?.last === row.at ? loss : undefined;
}
