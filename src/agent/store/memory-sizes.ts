import type { Database } from "bun:sqlite";
import type { WriteGate } from "../../storage/write-gate.ts";

export interface MemorySize {
  keys: number;
  bytes: number;
}

/** How much each namespace of the memory holds; counted when it is first asked for. */
export class MemorySizes {
  readonly #count;
  #sizes: Map<string, MemorySize> | undefined;
  #total: MemorySize = { keys: 0, bytes: 0 };

  constructor(database: Database, gate: WriteGate) {
    this.#count = gate.statement(
      database,
      "SELECT namespace, count(*) AS keys, sum(bytes) AS bytes FROM memory GROUP BY namespace",
    );
  }

  /** What was counted is not true any more. */
  forget(): void {
    this.#sizes = undefined;
  }

  of(namespace: string): MemorySize {
    return this.#counted().get(namespace) ?? { keys: 0, bytes: 0 };
  }

  total(): MemorySize {
    this.#counted();
    return this.#total;
  }

  /** After the rows were changed. */
  add(namespace: string, keys: number, bytes: number): void {
    // Not counted yet: the rows say it all.
    if (this.#sizes === undefined) return;
    const size = this.of(namespace);
    const next = { keys: size.keys + keys, bytes: size.bytes + bytes };
    if (next.keys === 0) this.#sizes.delete(namespace);
    else this.#sizes.set(namespace, next);
    this.#total = { keys: this.#total.keys + keys, bytes: this.#total.bytes + bytes };
  }

  #counted(): Map<string, MemorySize> {
    if (this.#sizes) return this.#sizes;
    const rows = this.#count.all() as (MemorySize & { namespace: string })[];
    this.#sizes = new Map(rows.map(({ namespace, keys, bytes }) => [namespace, { keys, bytes }]));
    this.#total = rows.reduce(
      (sum, { keys, bytes }) => ({ keys: sum.keys + keys, bytes: sum.bytes + bytes }),
      { keys: 0, bytes: 0 },
    );
    return this.#sizes;
  }
}
