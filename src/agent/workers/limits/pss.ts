import { readFileSync } from "node:fs";

/**
 * Memory of a process in bytes that is no file's, with pages that others have too (since a fork, or shared on purpose) divided
 * among those that have them.
 */
export function pssMemory(pid: number): number | null {
  try {
    const rollup = readFileSync(`/proc/${pid}/smaps_rollup`, "latin1");
    const parts = [/^Pss_Anon:\s+(\d+) kB/m, /^Pss_Shmem:\s+(\d+) kB/m].map((part) => part.exec(rollup));
    return parts.includes(null) ? null : parts.reduce((sum, part) => sum + Number(part![1]) * 1024, 0);
  } catch {
    // Not there (a kernel option), not allowed, or the process is gone.
    return null;
  }
}
