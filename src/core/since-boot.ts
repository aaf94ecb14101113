import { readFileSync } from "node:fs";

/** How long the host has been up: time that nobody sets, also over restarts of a process, and that goes on in its sleep. */
export interface SinceBoot {
  /** Another one after each boot; null where the host does not say. */
  boot: string | null;
  /** Milliseconds; null where the host does not say. */
  uptimeMs(): number | null;
}

export function sinceBoot(): SinceBoot {
  return {
    boot: firstWord("/proc/sys/kernel/random/boot_id"),
    uptimeMs: () => {
      const seconds = Number(firstWord("/proc/uptime") ?? NaN);
      return Number.isFinite(seconds) ? seconds * 1000 : null;
    },
  };
}

function firstWord(path: string): string | null {
  try {
    return /^\S+/.exec(readFileSync(path, "utf8"))?.[0] ?? null;
  } catch {
    return null;
  }
}
