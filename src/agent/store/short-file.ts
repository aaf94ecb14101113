import { closeSync, copyFileSync, openSync, rmSync, statSync, truncateSync, writeSync } from "node:fs";
import { pageSizeOf, readHeader, truncation } from "./damage.ts";

/** Where the header of a database says how many pages it has. */
const PAGES_AT = 28;

/**
 * SQLite opens no file that is shorter than its header says, though every page that is left could be read. Makes a copy
 * whose header says what is there: the damaged file itself is kept as it is. False when it is not that, or there is no
 * room for a copy.
 */
export function copyOfShort(path: string, copy: string): boolean {
  try {
    // With a log, the log tells the number of pages.
    if ((statSync(`${path}-wal`, { throwIfNoEntry: false })?.size ?? 0) > 0) return false;
    const header = readHeader(path);
    const { size } = statSync(path);
    const pages = Math.floor(size / pageSizeOf(header));
    if (truncation(header, size) === null || !(pages >= 1)) return false;
    copyFileSync(path, copy);
    truncateSync(copy, pages * pageSizeOf(header));
    const count = Buffer.alloc(4);
    count.writeUInt32BE(pages);
    const file = openSync(copy, "r+");
    writeSync(file, count, 0, count.length, PAGES_AT);
    closeSync(file);
    return true;
  } catch {
    return false;
  }
}

export function removeCopy(copy: string): void {
  for (const suffix of ["", "-wal", "-shm"]) rmSync(copy + suffix, { force: true });
}
