import { readFileSync } from "node:fs";
import { familyIn } from "./family.ts";
import { hasMounted } from "./kill-all.ts";
import { allProcesses } from "./proc-stat.ts";

/** Each round catches what was started during the one before. */
const ROUNDS = 10;

/**
 * Kills what workers of an agent that was killed have left running, and gives their number. A confined worker dies with its
 * agent, what it had started does not, and a step that runs again must not run beside its former self. `folders` are those of
 * the workers: each is in the environment of all that the worker starts, and mounted where it had a mount namespace.
 */
export function killLeftBehind(folders: string[]): number {
  const killed = new Set<number>();
  for (let round = 0; round < ROUNDS && folders.length > 0; round++) {
    const living = leftBehind(folders);
    for (const pid of living) {
      killed.add(pid);
      kill(pid);
    }
    if (living.length === 0) break;
  }
  return killed.size;
}

function leftBehind(folders: string[]): number[] {
  const processes = allProcesses().filter(({ pid }) => pid > 1 && pid !== process.pid);
  const marked = processes.filter(({ pid }) => folders.some((folder) => isOf(pid, folder)));
  return familyIn(processes, new Set(marked.map(({ pid }) => pid)))
    .filter(({ state }) => state !== "Z" && state !== "X")
    .map(({ pid }) => pid);
}

function isOf(pid: number, folder: string): boolean {
  return hasInEnvironment(pid, folder) || hasMounted(pid, folder);
}

function hasInEnvironment(pid: number, folder: string): boolean {
  try {
    return readFileSync(`/proc/${pid}/environ`, "utf8").split("\0").includes(`TMPDIR=${folder}`);
  } catch {
    // Another user's process, or one that has just ended.
    return false;
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // Nobody there any more.
  }
}
