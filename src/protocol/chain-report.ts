import type { StreamName } from "./chain-items.ts";
import type { ChainProblem } from "./stream-walk.ts";

/** A loss record, as a report tells it. */
export interface ToldLoss {
  first: number;
  last: number;
  counts: Record<string, number>;
  reason: string;
  atMs: number;
  /** `at rest`: an agent signs as it sends. */
  signature: "good" | "wrong" | "at rest";
}

/** Up to where a receipt proves that a hub holds the stream. */
export interface Proof {
  hub: string;
  number: number;
  atMs: number;
}

export interface StreamReport extends StreamName {
  /** First and last number that were looked at; `last` is 0 in an empty stream. */
  first: number;
  last: number;
  /** Rows that were read, a loss record being one. */
  rows: number;
  /** Rows by the number of their class. */
  classes: Record<string, number>;
  losses: ToldLoss[];
  /** Rows that loss records stand for. */
  lost: number;
  /** Rows held beside the stream, under numbers that others have. */
  beside: number;
  acknowledged: number | null;
  proved: Proof | null;
  /** More rows of this segment have to come: a later segment is here, and follows one that is not. */
  unfinished: boolean;
  /** The chain's first problem, then those of signatures and receipts. */
  problems: ChainProblem[];
}

export interface ChainTotals {
  streams: number;
  rows: number;
  classes: Record<string, number>;
  lost: number;
  beside: number;
}

export interface ChainReport {
  ok: boolean;
  side: "agent" | "hub";
  agent: string | null;
  hub: string | null;
  epoch: string;
  totals: ChainTotals;
  /** What is wrong beside the streams: certificates, an export that was cut short. */
  problems: string[];
}

/** Sums up reports as they come, so that none has to be kept. */
export class Totals {
  readonly totals: ChainTotals = { streams: 0, rows: 0, classes: {}, lost: 0, beside: 0 };
  whole = true;

  add({ rows, classes, lost, beside, problems }: StreamReport): void {
    const sum = this.totals;
    sum.streams++;
    sum.rows += rows;
    sum.lost += lost;
    sum.beside += beside;
    for (const [name, count] of Object.entries(classes)) sum.classes[name] = (sum.classes[name] ?? 0) + count;
    this.whole &&= problems.length === 0;
  }
}
