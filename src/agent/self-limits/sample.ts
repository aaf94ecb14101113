import { readFileSync } from "node:fs";
import type { Clock } from "../../core/clock.ts";
import type { Amounts } from "../../model/resource-use.ts";
import { fileBytes, folderBytes } from "./trim-logs.ts";

/** The kernel gives times in /proc in hundredths of a second, on every architecture. */
const MS_PER_TICK = 10;

/** Grows only, but for what has ended: that is then among the times of the agent's children. */
export interface Spent {
  /** Resident memory that is no file's. */
  memoryBytes: number;
  cpuMs: number;
}

export interface SamplerOptions {
  /** The store's file. */
  database: string;
  logFolders: readonly string[];
  /** What the workers use that run now. */
  workers: () => Spent;
  clock: Pick<Clock, "mono">;
  /** This process when absent. */
  own?: () => Spent;
}

/** Looks at what the agent and its workers use; processor time is the mean since the look before. Costs some 100 µs. */
export function createSampler(options: SamplerOptions): () => Amounts {
  const { database, logFolders, workers, clock, own = ownSpent } = options;
  let last: { at: number; cpuMs: number } | undefined;
  return () => {
    const [mine, theirs, at] = [own(), workers(), clock.mono()];
    const cpuMs = mine.cpuMs + theirs.cpuMs;
    const elapsed = last === undefined ? 0 : at - last.at;
    const cpu = elapsed > 0 ? Math.max(0, cpuMs - last!.cpuMs) / elapsed : 0;
    last = { at, cpuMs };
    const store = ["", "-wal", "-shm"].map((suffix) => fileBytes(`${database}${suffix}`));
    return {
      memory: mine.memoryBytes + theirs.memoryBytes,
      cpu,
      disk: store.reduce((sum, bytes) => sum + bytes, folderBytes(logFolders)),
    };
  };
}

/** Of this process, with the time of workers that have ended. */
export function ownSpent(): Spent {
  const status = readFileSync("/proc/self/status", "latin1");
  const stat = readFileSync("/proc/self/stat", "latin1");
  // The name of the program may hold blanks and brackets; what counts comes after the last bracket.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const ticks = fields.slice(11, 15).reduce((sum, field) => sum + Number(field), 0);
  return {
    memoryBytes: kilobytes(status, "RssAnon") + kilobytes(status, "RssShmem"),
    cpuMs: ticks * MS_PER_TICK,
  };
}

function kilobytes(status: string, name: string): number {
  return Number(new RegExp(`^${name}:\\s+(\\d+) kB`, "m").exec(status)?.[1] ?? 0) * 1024;
}
