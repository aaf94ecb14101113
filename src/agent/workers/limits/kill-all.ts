import { readFileSync, readlinkSync, statSync } from "node:fs";
import type { CgroupLeaf } from "./cgroup.ts";
import { familyIn } from "./family.ts";
import { allProcesses, type ProcStat } from "./proc-stat.ts";

/** Each round catches what was started during the one before. */
const ROUNDS = 10;

/** By what a process is known that has left its session and lost its parents. */
export interface KillMarks {
  /** The worker's own user: nobody else has it. */
  uid?: number;
  /** The worker's own folder, which is mounted in its mount namespace and in no other. */
  folder?: string;
  /** It could not start processes. */
  alone?: boolean;
  /** When the worker started, in ticks since boot: nobody of it is older, so nobody older is looked at closely. */
  since?: number;
  /** Known from earlier looks. */
  pids?: number[];
}

/**
 * Kills a worker and all that it started, also after the worker itself has ended. With a cgroup nothing can escape; else
 * the group, the session and the tree of parents are followed, and those that left them are known by their marks.
 */
export function killAll(pid: number, leaf: Pick<CgroupLeaf, "kill"> | null, marks: KillMarks = {}): void {
  const sure = leaf?.kill() ?? false;
  if (sure || marks.alone) {
    send(-pid, "SIGKILL");
    return;
  }
  // Stopped first: with its parent, a process loses the trace to its family.
  send(-pid, "SIGSTOP");
  const known = new Set([pid, ...(marks.pids ?? [])]);
  for (let round = 0; round < ROUNDS; round++) {
    const living = survivors(known, marks);
    send(-pid, "SIGKILL");
    for (const member of living) send(member, "SIGKILL");
    if (living.every((member) => known.has(member))) return;
    for (const member of living) known.add(member);
  }
}

/** All of the family that still run. */
function survivors(known: ReadonlySet<number>, marks: KillMarks): number[] {
  const processes = allProcesses().filter((stat) => stat.pid > 1 && stat.pid !== process.pid);
  const marked = processes.filter((stat) => isMarked(stat, marks)).map((stat) => stat.pid);
  return familyIn(processes, new Set([...known, ...marked]))
    .filter((stat) => stat.state !== "Z" && stat.state !== "X")
    .map((stat) => stat.pid);
}

function isMarked(stat: ProcStat, marks: KillMarks): boolean {
  if (marks.since !== undefined && stat.started < marks.since) return false;
  if (marks.uid !== undefined && hasUser(stat, marks.uid)) return true;
  return marks.folder !== undefined && hasMounted(stat.pid, marks.folder);
}

/** A process may hide its user from the owner of its folder in /proc (it then belongs to root), not from its status. */
function hasUser(stat: ProcStat, uid: number): boolean {
  try {
    const owner = statSync(`/proc/${stat.pid}`).uid;
    if (owner !== 0) return owner === uid;
    const status = readFileSync(`/proc/${stat.pid}/status`, "latin1");
    return Number(/^Uid:\s+(\d+)/m.exec(status)?.[1]) === uid;
  } catch {
    return false;
  }
}

/** Whether the process sees this folder as a mount of its own. */
export function hasMounted(pid: number, folder: string): boolean {
  try {
    if (readlinkSync(`/proc/${pid}/ns/mnt`) === readlinkSync("/proc/self/ns/mnt")) return false;
    return readFileSync(`/proc/${pid}/mountinfo`, "utf8").includes(escapeMount(folder));
  } catch {
    // Another user's process, or one that has just ended.
    return false;
  }
}

/** As the kernel writes a path there: blanks and backslashes in octal. */
function escapeMount(path: string): string {
  return path.replace(/[ \t\n\\]/g, (c) => `\\${c.charCodeAt(0).toString(8).padStart(3, "0")}`);
}

function send(pid: number, signal: "SIGKILL" | "SIGSTOP"): void {
  // 0 is our own group, -1 everybody, 1 the system's first process.
  if (Math.abs(pid) <= 1) return;
  try {
    process.kill(pid, signal);
  } catch {
    // Nobody there any more.
  }
}
