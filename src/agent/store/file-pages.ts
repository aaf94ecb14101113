import type { Database } from "bun:sqlite";
import { bytesInUse } from "./retention.ts";
import type { Trimmed } from "./trim-step.ts";

/** Free pages that stay in the file for new rows. */
const SPARE_PAGES = 4096;
/** Of the file's limit, when that is small. */
const SPARE_PART = 16;

/** The pages of the store's file: how many are in use, and giving back those that are not. */
export class FilePages {
  readonly #database: Database;
  readonly #most: number;
  readonly #spare: number;

  constructor(database: Database, bytes: number) {
    this.#database = database;
    const pageSize = this.#pragma("page_size");
    this.#most = Math.floor(bytesInUse(bytes) / pageSize);
    this.#spare = Math.min(SPARE_PAGES, Math.floor(bytes / SPARE_PART / pageSize));
  }

  /** Pages that are in use beyond what may be. */
  excess(): number {
    return Math.max(0, this.#pragma("page_count") - this.#pragma("freelist_count") - this.#most);
  }

  tooLarge(): boolean {
    return this.excess() > 0;
  }

  /** Moves at most so many pages from the file's end to free ones, and cuts it off. */
  giveBack(pages: number): Trimmed {
    const free = this.#pragma("freelist_count");
    if (free <= this.#spare) return { touched: 0, more: false };
    this.#database.run(`PRAGMA incremental_vacuum(${Math.min(pages, free - this.#spare)})`);
    return { touched: pages, more: free - pages > this.#spare };
  }

  #pragma(name: "page_size" | "page_count" | "freelist_count"): number {
    return (this.#database.query(`PRAGMA ${name}`).get() as Record<string, number>)[name]!;
  }
}
