import { type AgeWindow, ageAllowance, goneByAge } from "./age-allowance.ts";
import type { KeyValues } from "./key-values.ts";
import { HISTORY_TABLES, type HistoryTable, TRIM_REASONS, type TrimReason } from "./retention.ts";

const TRIMMED = "history_trimmed";
const WINDOWS = "history_windows";

export type TrimmedRows = Record<HistoryTable, Record<TrimReason, number>>;
type Windows = Partial<Record<HistoryTable, AgeWindow>>;

/** What history has let go of and why, ever; durable with the deletions, as is how much of it was by age lately. */
export class TrimCounts {
  readonly #values: KeyValues;
  #trimmed = nothing();
  #windows: Windows = {};
  /** The clock that only counts begins anew with each process: what was under way goes on for an hour from here. */
  #loaded = false;

  constructor(values: KeyValues) {
    this.#values = values;
  }

  load(): void {
    this.#trimmed = { ...nothing(), ...(this.#values.meta(TRIMMED) as Partial<TrimmedRows> | undefined) };
    if (!this.#loaded) this.#windows = (this.#values.meta(WINDOWS) as Windows | undefined) ?? {};
  }

  begin(monoMs: number): void {
    if (this.#loaded) return;
    this.#loaded = true;
    for (const window of Object.values(this.#windows)) window.lastMonoMs = monoMs;
  }

  trimmed(): TrimmedRows {
    return this.#trimmed;
  }

  allowance(table: HistoryTable, rows: number, monoMs: number): number {
    return ageAllowance(this.#windows[table], rows, monoMs);
  }

  /** Of `rows` rows `gone` were deleted. */
  add(table: HistoryTable, reason: TrimReason, gone: number, rows: number, monoMs: number): void {
    if (gone === 0) return;
    const counts = this.#trimmed[table];
    this.#trimmed = { ...this.#trimmed, [table]: { ...counts, [reason]: counts[reason] + gone } };
    this.#values.setMeta(TRIMMED, this.#trimmed);
    if (reason !== "age") return;
    // Also when it is rolled back this stands: rather too little goes by age than too much.
    this.#windows = { ...this.#windows, [table]: goneByAge(this.#windows[table], rows, gone, monoMs) };
    this.#values.setMeta(WINDOWS, this.#windows as never);
  }
}

function nothing(): TrimmedRows {
  const none = () => Object.fromEntries(TRIM_REASONS.map((reason) => [reason, 0]));
  return Object.fromEntries(HISTORY_TABLES.map((table) => [table, none()])) as TrimmedRows;
}
