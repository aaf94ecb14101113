import { lstatSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";

/** Entries of the folder that are looked at before others get their turn: about a millisecond. */
const SLICE = 200;
const SLICE_MS = 20;
const SOON_MS = 500;
/** Without a sign of work the folder is looked at this seldom. */
const IDLE_MS = 10_000;
/** A look may cost one part in this many of a core. */
const COST_SHARE = 50;
/** Every file takes a place in the file system's tables, however small it is. */
const LEAST_FILE_BYTES = 4096;
/** Processor time without which nobody writes much. */
const WORK_MS = 10;

export interface DiskUse {
  bytes: number;
  files: number;
}

export interface DiskWatchOptions {
  folder: string;
  limitBytes: number;
  mono: () => number;
  /** Processes whose open files count too when they have no name any more. */
  pids: () => number[];
}

/** What a worker's own folder takes on the disk, counted slice by slice and more seldom the more there is to count. */
export class DiskWatch {
  readonly #options: DiskWatchOptions;
  #walk: Generator<DiskUse, DiskUse> | undefined;
  #spentMs = 0;
  #scannedAt = -Infinity;
  #pauseMs = 0;
  #cpuAtScan = 0;
  peakBytes = 0;
  last: DiskUse = { bytes: 0, files: 0 };

  constructor(options: DiskWatchOptions) {
    this.#options = options;
  }

  /** In the middle of a look. */
  get counting(): boolean {
    return this.#walk !== undefined;
  }

  /** `cpuMs`: what the worker has used so far. */
  step(now: number, cpuMs: number): { over: boolean; nextMs: number } {
    if (!this.#walk && !this.#isDue(now, cpuMs)) return { over: false, nextMs: SOON_MS };
    if (!this.#walk) {
      this.#walk = measure(this.#options.folder, this.#options.pids);
      this.#spentMs = 0;
      this.#cpuAtScan = cpuMs;
    }
    return this.#slice(now);
  }

  /** Counts all of it at once, for the last word at a worker's end; bounded by the limit. */
  finish(): DiskUse {
    const { folder, pids } = this.#options;
    for (const use of measure(folder, pids)) {
      this.#note(use);
      if (use.bytes > this.#options.limitBytes) break;
    }
    return this.last;
  }

  #isDue(now: number, cpuMs: number): boolean {
    const since = now - this.#scannedAt;
    if (since < this.#pauseMs) return false;
    return cpuMs - this.#cpuAtScan >= WORK_MS || since >= IDLE_MS;
  }

  #slice(now: number): { over: boolean; nextMs: number } {
    const { mono, limitBytes } = this.#options;
    const before = mono();
    const { value, done } = this.#walk!.next();
    this.#spentMs += mono() - before;
    this.#note(value);
    const over = value.bytes > limitBytes;
    if (!done && !over) return { over, nextMs: SLICE_MS };
    this.#walk = undefined;
    this.#scannedAt = now;
    this.#pauseMs = Math.max(SOON_MS, this.#spentMs * COST_SHARE);
    return { over, nextMs: SOON_MS };
  }

  #note(use: DiskUse): void {
    this.last = use;
    this.peakBytes = Math.max(this.peakBytes, use.bytes);
  }
}

/** Yields what was counted so far after each slice. Never follows a link and never leaves the file system. */
export function* measure(folder: string, pids: () => number[] = () => []): Generator<DiskUse, DiskUse> {
  const sum = { bytes: 0, files: 0 };
  const root = statOf(folder);
  if (!root) return sum;
  let left = SLICE;
  const pending = [folder];
  for (let path = pending.pop(); path !== undefined; path = pending.pop()) {
    for (const name of namesIn(path)) {
      const entry = join(path, name);
      const stat = statOf(entry);
      if (stat && stat.dev === root.dev) {
        sum.files++;
        // One file under several names is shared among them.
        sum.bytes +=
          Math.max(LEAST_FILE_BYTES, stat.blocks * 512) / (stat.isDirectory() ? 1 : stat.nlink || 1);
        if (stat.isDirectory()) pending.push(entry);
      }
      if (--left === 0) {
        left = SLICE;
        yield { ...sum };
      }
    }
  }
  sum.bytes += namelessBytes(root.dev, pids());
  return sum;
}

/** Of files that were deleted while they are open. */
function namelessBytes(device: number, pids: number[]): number {
  const counted = new Map<number, number>();
  for (const pid of pids) {
    for (const fd of namesIn(`/proc/${pid}/fd`)) {
      try {
        const stat = statSync(`/proc/${pid}/fd/${fd}`);
        if (stat.nlink === 0 && stat.dev === device && stat.isFile())
          counted.set(stat.ino, stat.blocks * 512);
      } catch {
        // Closed meanwhile, or not ours to look at.
      }
    }
  }
  return [...counted.values()].reduce((sum, bytes) => sum + bytes, 0);
}

function namesIn(path: string): string[] {
  try {
    return readdirSync(path);
  } catch {
    return [];
  }
}

function statOf(path: string) {
  try {
    return lstatSync(path);
  } catch {
    return undefined;
  }
}
