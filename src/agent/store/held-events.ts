import type { Database } from "bun:sqlite";

/** Open runs that one step looks at. */
const PAGE = 2000;

/** Numbers of the events that open runs are about: those stay. Read from the rows in pages, then kept up to date. */
export class HeldEvents {
  readonly #database: Database;
  readonly #runs = new Map<number, number>();
  /** Runs up to this number are counted; later ones count once they are read. */
  #read = 0;
  #complete = false;

  constructor(database: Database) {
    this.#database = database;
  }

  load(): void {
    this.#runs.clear();
    this.#read = 0;
    this.#complete = false;
  }

  /** True when everything is known; else one page more was read. */
  ready(): boolean {
    if (this.#complete) return true;
    const rows = this.#database
      .query("SELECT n, event_n FROM runs WHERE open = 1 AND n > ? ORDER BY n LIMIT ?")
      .all(this.#read, PAGE) as { n: number; event_n: number | null }[];
    for (const { event_n } of rows) this.#add(event_n, 1);
    this.#read = rows.at(-1)?.n ?? this.#read;
    this.#complete = rows.length < PAGE;
    return this.#complete;
  }

  has(event: number): boolean {
    return this.#runs.has(event);
  }

  began(run: number, event: number | null): void {
    if (this.#complete || run <= this.#read) this.#add(event, 1);
  }

  ended(run: number, event: number | null): void {
    if (this.#complete || run <= this.#read) this.#add(event, -1);
  }

  #add(event: number | null, runs: number): void {
    if (event === null) return;
    const now = (this.#runs.get(event) ?? 0) + runs;
    if (now > 0) this.#runs.set(event, now);
    else this.#runs.delete(event);
  }
}
