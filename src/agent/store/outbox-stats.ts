import type { LossRecordBody } from "../../model/record.ts";

/** Rows that are gone for good before the hub had them, ever: by the name of their class and by the reason. */
export type LostRows = Record<string, Partial<Record<LossRecordBody["reason"], number>>>;

/** What one step of trimming has given up. */
export interface Evicted {
  lane: number;
  counts: LossRecordBody["counts"];
}

/** What waits for the hub, what may, and what was given up in its place. */
export interface OutboxStats {
  /** Of bodies that the hub has not acknowledged. */
  bytes: number;
  cap: { rows: number; bytes: number };
  lost: LostRows;
}
