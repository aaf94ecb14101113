import type { Queries, Value } from "./database.ts";

export interface Insertion {
  /** `records (stream, number, …)` */
  into: string;
  columns: number;
  /** `ON CONFLICT …` */
  tail?: string;
}

/** Rows a statement: few texts to prepare, and far below the 32,766 values that SQLite takes. */
const ROWS = 100;

/** Inserts rows with as few statements as possible; returns how many the database took. */
export async function insertMany(tx: Queries, insertion: Insertion, rows: Value[][]): Promise<number> {
  let taken = 0;
  for (let start = 0; start < rows.length; start += ROWS) {
    const part = rows.slice(start, start + ROWS);
    taken += await tx.run(text(insertion, part.length), part.flat());
  }
  return taken;
}

function text({ into, columns, tail }: Insertion, rows: number): string {
  const row = `(${Array.from({ length: columns }, () => "?").join(", ")})`;
  const values = Array.from({ length: rows }, () => row).join(", ");
  return `INSERT INTO ${into} VALUES ${values}${tail === undefined ? "" : ` ${tail}`}`;
}
