import { readFileSync } from "node:fs";

/** Anonymous memory of a process in bytes, with pages that are shared since a fork divided among those that share them. */
export function pssAnon(pid: number): number | null {
  try {
    const match = /^Pss_Anon:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, "latin1"));
    return match ? Number(match[1]) * 1024 : null;
  } catch {
    // Not there (a kernel option), not allowed, or the process is gone.
    return null;
  }
}
