import { LANES, type LossRecordBody, RECORD_CLASSES } from "../../model/record.ts";
import type { KeyValues } from "./key-values.ts";
import type { LostRows } from "./outbox-stats.ts";

const LOST = "outbox_lost";

const NAMES = new Map<number, string>(Object.entries(RECORD_CLASSES).map(([name, number]) => [number, name]));

/** Counts what was lost, durable with the loss record that says so. */
export class OutboxLosses {
  readonly #values: KeyValues;
  #lost: LostRows = {};

  constructor(values: KeyValues) {
    this.#values = values;
  }

  load(): void {
    this.#lost = (this.#values.meta(LOST) as LostRows | undefined) ?? {};
  }

  lost(): LostRows {
    return this.#lost;
  }

  add(counts: LossRecordBody["counts"], reason: LossRecordBody["reason"]): void {
    const lost = structuredClone(this.#lost);
    for (const [recordClass, count] of Object.entries(counts)) {
      const byReason = (lost[className(Number(recordClass))] ??= {});
      byReason[reason] = (byReason[reason] ?? 0) + count;
    }
    this.#lost = lost;
    this.#values.setMeta(LOST, lost);
  }
}

/** For people and metrics; 0 is of rows of which nothing could be read. */
export function className(recordClass: number): string {
  return NAMES.get(recordClass) ?? (recordClass === 0 ? "unknown" : `class ${recordClass}`);
}

/** The class of a row of which nothing can be read: that of its lane where there is only one, else 0. */
export function classOfLane(lane: number): number {
  return lane === LANES.events ? RECORD_CLASSES.event : 0;
}
