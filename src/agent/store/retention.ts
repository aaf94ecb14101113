/** How much of one table the store keeps. */
export interface Cap {
  keep: number;
  /** Of trusted time. */
  ageMs: number;
}

/** How much history the store keeps. */
export interface Retention {
  events: Cap;
  /** Of those that have ended, and whose children have; a run goes with its children. Their age counts from their end. */
  runs: Cap;
  /** Resolved ones; their age counts from then. */
  findings: Cap;
  deadLetters: Cap;
  /** The whole file with its log. */
  bytes: number;
  /** Rows of each lane that the hub has acknowledged: a hub restored from a backup asks for them again. */
  acknowledgedRows: number;
  /** With more events than this an output that has not read them holds them back no longer. */
  heldForOutputs: number;
  /** Outputs that are at work: only for them events are held. Null is every output that ever was. */
  outputs: string[] | null;
}

const DAY_MS = 86_400_000;
const GIGABYTE = 1024 ** 3;

export const DEFAULT_RETENTION: Retention = {
  // Ten a second for the thirty days.
  events: { keep: 26_000_000, ageMs: 30 * DAY_MS },
  runs: { keep: 100_000, ageMs: 30 * DAY_MS },
  findings: { keep: 10_000, ageMs: 90 * DAY_MS },
  deadLetters: { keep: 10_000, ageMs: 90 * DAY_MS },
  bytes: 2 * GIGABYTE,
  acknowledgedRows: 10_000,
  heldForOutputs: 1_000_000,
  outputs: null,
};

/** Tables of history, by the names that the configuration has for them. */
export const HISTORY_TABLES = ["events", "runs", "findings", "dead_letters"] as const;
export type HistoryTable = (typeof HISTORY_TABLES)[number];

export const TRIM_REASONS = ["count", "age", "size"] as const;
export type TrimReason = (typeof TRIM_REASONS)[number];

/** What the store holds of one table, what it may hold, and what it has let go of. */
export interface HistoryTableStats extends Cap {
  rows: number;
  /** When the oldest row came (of a finding: was resolved), by the host's clock; null when there is none. */
  oldestMs: number | null;
  /** Rows that went, ever, by the reason. */
  trimmed: Record<TrimReason, number>;
}

export interface HistoryStats {
  /** What the file with its log may take. */
  bytes: number;
  tables: Record<HistoryTable, HistoryTableStats>;
}

/** What there is to know of a table before anything of it is deleted. Its rows are in the order of their age. */
export interface TableFacts {
  rows: number;
  /** Number of the oldest row that may still be looked at. */
  first: number;
  /** Rows with this number and higher ones stay: somebody needs them. */
  neededFrom: number;
  /** The same when room is short: whoever has only not read them yet gets a gap that he is told of. */
  neededThough: number;
  /** Rows up to this number are older than the cap's age. */
  agedTo: number;
  /** Rows that may go by age in this hour. */
  ageAllowance: number;
  /** The file is larger than it may be. */
  tooLarge: boolean;
}

export interface Doomed {
  reason: TrimReason;
  /** The highest number that may go. */
  to: number;
  /** How many at most. */
  rows: number;
}

/** What may be deleted of a table now, at most `step` rows of it; null when nothing may or need. */
export function doomed(facts: TableFacts, cap: Cap, step: number): Doomed | null {
  const { rows, first, neededFrom, neededThough, agedTo, ageAllowance, tooLarge } = facts;
  const mayGo = neededFrom - 1;
  const excess = rows - cap.keep;
  if (excess > 0 && first <= mayGo) return { reason: "count", to: mayGo, rows: Math.min(excess, step) };
  const aged = Math.min(agedTo, mayGo);
  if (ageAllowance > 0 && first <= aged)
    return { reason: "age", to: aged, rows: Math.min(ageAllowance, step) };
  if (tooLarge && first < neededThough) return { reason: "size", to: neededThough - 1, rows: step };
  return null;
}

/** Of the file's limit, what stays free for its log and for pages that wait to be used again. */
const RESERVE_BYTES = 128 * 1024 * 1024;

/** Bytes of pages in use from which on the oldest rows go, so that file and log together stay under `bytes`. */
export function bytesInUse(bytes: number): number {
  return bytes - Math.min(bytes / 4, RESERVE_BYTES);
}
