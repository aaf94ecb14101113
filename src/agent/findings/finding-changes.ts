import { HoldfastError } from "../../core/errors.ts";
import type { FindingChange } from "../../model/finding.ts";
import type { FindingRow } from "../../model/rule.ts";

export interface Times {
  trustedMs: number;
  wallMs: number;
}

/** `E` is what rules make of a change, which is committed with it. */
export interface FindingChangesOptions<E> {
  /** By id, or by a part of one. */
  find(id: string): Promise<FindingRow | null>;
  /** Throws `conflict` when the finding's state does not allow it. */
  change(stored: FindingRow, change: FindingChange, times: Times): { row: FindingRow; evaluated: E };
  /** Resolves after the commit. `evaluate` may be called more than once; null commits nothing. */
  commit(evaluate: (times: Times) => E | null): Promise<void>;
}

/** What people do with findings, one change after the other: each sees the one before. */
export class FindingChanges<E> {
  readonly #options: FindingChangesOptions<E>;
  #last: Promise<unknown> = Promise.resolve();

  constructor(options: FindingChangesOptions<E>) {
    this.#options = options;
  }

  /** Resolves with the finding as it is then, when that is durable. */
  make(id: string, change: FindingChange): Promise<FindingRow> {
    const made = this.#last.then(() => this.#make(id, change));
    this.#last = made.catch(() => {});
    return made;
  }

  async #make(id: string, change: FindingChange): Promise<FindingRow> {
    const stored = await this.#options.find(id);
    if (stored === null) throw noFinding(id);
    let row = stored;
    let refused: unknown;
    await this.#options.commit((times) => {
      refused = undefined;
      try {
        const changed = this.#options.change(stored, change, times);
        row = changed.row;
        return changed.evaluated;
      } catch (error) {
        // A refusal has changed nothing: whoever commits need not read its memory again for it.
        if (!(error instanceof HoldfastError && error.code === "conflict")) throw error;
        refused = error;
        return null;
      }
    });
    if (refused !== undefined) throw refused;
    return row;
  }
}

function noFinding(id: string): HoldfastError {
  return new HoldfastError(
    "not_found",
    `no finding ${id}: look at holdfast finding list --state all, and give an id or at least 4 characters of its end (or beginning)`,
  );
}
