import { type Cap, doomed, type HistoryTable, type TableFacts } from "./retention.ts";
import type { StoreParts } from "./store-parts.ts";
import type { Trimmed, TrimNow } from "./trim-step.ts";

/** Tables that are small beside the events: nothing goes from them for want of room. */
const NO_NUMBERS = { neededFrom: Number.MAX_SAFE_INTEGER, neededThough: 0, tooLarge: false };

/**
 * Of tables that are not in the order of their numbers the decision is made on places: the oldest row is 1, and so many
 * of the first are too old.
 */
function factsOf(
  parts: StoreParts,
  table: HistoryTable,
  rows: number,
  aged: number,
  now: TrimNow,
): TableFacts {
  const ageAllowance = parts.trimCounts.allowance(table, rows, now.monoMs);
  return { ...NO_NUMBERS, rows, first: 1, agedTo: aged, ageAllowance };
}

/** Forgets resolved findings, those first that are over for longest. */
export class FindingHistory {
  readonly #parts: StoreParts;
  readonly #cap: Cap;

  constructor(parts: StoreParts, cap: Cap) {
    this.#parts = parts;
    this.#cap = cap;
  }

  trim(now: TrimNow, step: number): Trimmed {
    const { rules, trimCounts } = this.#parts;
    const oldMs = now.trustedMs - this.#cap.ageMs;
    const rows = rules.resolved();
    const facts = factsOf(this.#parts, "findings", rows, rules.resolvedBefore(oldMs, step), now);
    const due = doomed(facts, this.#cap, step);
    if (due === null) return { touched: 0, more: false };
    const gone = rules.trim(due.reason === "age" ? oldMs : Number.MAX_SAFE_INTEGER, due.rows);
    trimCounts.add("findings", due.reason, gone, rows, now.monoMs);
    return { touched: gone, more: gone > 0 };
  }
}

/** Drops the oldest dead letters. */
export class DeadLetterHistory {
  readonly #parts: StoreParts;
  readonly #cap: Cap;

  constructor(parts: StoreParts, cap: Cap) {
    this.#parts = parts;
    this.#cap = cap;
  }

  trim(now: TrimNow, step: number): Trimmed {
    const { dead, trimCounts } = this.#parts;
    const rows = dead.count();
    const aged = rows === 0 ? 0 : dead.aged(now.trustedMs - this.#cap.ageMs, step);
    const due = doomed(factsOf(this.#parts, "dead_letters", rows, aged, now), this.#cap, step);
    if (due === null) return { touched: 0, more: false };
    const gone = dead.trim(due.reason === "age" ? Math.min(due.rows, due.to) : due.rows);
    trimCounts.add("dead_letters", due.reason, gone, rows, now.monoMs);
    return { touched: gone, more: gone > 0 };
  }
}
