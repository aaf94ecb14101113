import { RECORD_CLASSES } from "../../model/record.ts";
import { rowHash } from "../../protocol/chain.ts";
import { classOfLane } from "./outbox-losses.ts";
import type { SalvageCounts } from "./salvage-source.ts";
import type { StoreParts } from "./store-parts.ts";

/** Rows of one stream of a damaged store that follow each other and are gone: one loss record of the new one. */
export class LostRun {
  readonly #lane: number;
  readonly #parts: StoreParts;
  readonly #tally: SalvageCounts;
  readonly #most: number;
  #counts: Record<string, number> = {};
  /** Of the last one, where it could be read. */
  #lastHash: Uint8Array | undefined;

  /** `most`: rows that the damaged store had room for; a number that says more of them are gone is wrong itself. */
  constructor(lane: number, parts: StoreParts, tally: SalvageCounts, most: number) {
    this.#lane = lane;
    this.#parts = parts;
    this.#tally = tally;
    this.#most = most;
  }

  /** So many rows of which nothing is known. */
  missing(rows: number): void {
    if (rows > 0 && rows <= this.#most) this.add(classOfLane(this.#lane), rows, undefined);
  }

  add(recordClass: number, rows: number, hash: Uint8Array | undefined): void {
    const known = (Object.values(RECORD_CLASSES) as number[]).includes(recordClass);
    const named = known && recordClass !== RECORD_CLASSES.loss ? recordClass : classOfLane(this.#lane);
    this.#counts[named] = (this.#counts[named] ?? 0) + rows;
    this.#lastHash = hash?.length === 32 ? hash : undefined;
    this.#tally.outboxLost += rows;
  }

  /** Writes the record of what has gathered. */
  end(): void {
    if (Object.keys(this.#counts).length === 0) return;
    const { heads, losses, time } = this.#parts;
    const counts = this.#counts;
    const lastHash = Buffer.from(this.#lastHash ?? this.#newHash()).toString("hex");
    const atMs = Math.round(time.trustedMs);
    const { head, body } = heads.advanceOver(this.#lane, { counts, lastHash, reason: "damaged", atMs });
    heads.insertLoss(head, head.last, head.lastHash, body);
    losses.add(counts, "damaged");
    this.#counts = {};
    this.#lastHash = undefined;
  }

  /** Any will do, if it is no other loss's: the epoch is random. */
  #newHash(): Uint8Array {
    const { heads } = this.#parts;
    const seed = JSON.stringify([heads.epoch, this.#lane, heads.get(this.#lane, 1)?.last ?? 0]);
    return rowHash(new Uint8Array(32), 1, RECORD_CLASSES.loss, seed);
  }
}
