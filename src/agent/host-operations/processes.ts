import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { basename } from "node:path";
import { HoldfastError } from "../../core/errors.ts";
import type { KernelCalls } from "./kernel-calls.ts";
import type { SignalName } from "./verbs.ts";

/** The same on x86-64 and arm64. */
const NUMBERS: Record<SignalName, number> = { HUP: 1, KILL: 9, USR1: 10, USR2: 12, TERM: 15 };
/** The kernel keeps no more of a process's name. */
const COMM_LENGTH = 15;
const ESRCH = 3;
const EPERM = 1;

export interface Found {
  /** Processes to which a signal may go. */
  pids: number[];
  /** Those of this name that never get one: the agent, its workers, pid 1. */
  spared: number[];
}

/**
 * Processes of this host (of our own pid namespace: not what runs in containers) whose name and whose executable's name are
 * both `name`. `protectedTrees` are processes that are spared with everything below them; so is all that runs our executable.
 */
export function findProcesses(name: string, protectedTrees: number[]): Found {
  const found: Found = { pids: [], spared: [] };
  for (const entry of readdirSync("/proc")) {
    const pid = Number(entry);
    if (!Number.isInteger(pid) || !isNamed(pid, name)) continue;
    (isProtected(pid, protectedTrees) ? found.spared : found.pids).push(pid);
  }
  return found;
}

/** Sends to each of them and gives those that it reached. Throws `not_found` or `denied` when there is none. */
export function signalProcesses(
  name: string,
  signal: SignalName,
  protectedTrees: number[],
  kernel: KernelCalls,
): number[] {
  const { pids, spared } = findProcesses(name, protectedTrees);
  if (pids.length === 0) throw nobody(name, spared);
  return pids.filter((pid) => signalOne(pid, name, signal, kernel));
}

function signalOne(pid: number, name: string, signal: SignalName, kernel: KernelCalls): boolean {
  const failed = (errno: number) => {
    const why = errno === EPERM ? "this user may not" : `errno ${errno}`;
    return new HoldfastError("failed", `cannot send SIG${signal} to process ${pid} (${name}): ${why}`);
  };
  const process = kernel.openProcess(pid);
  if (process === -ESRCH) return false;
  if (process < 0) throw failed(-process);
  try {
    // The number may have gone to another process since it was looked at; what is open now stays what it is.
    if (!isNamed(pid, name)) return false;
    const errno = kernel.signalProcess(process, NUMBERS[signal]);
    if (errno !== 0 && errno !== ESRCH) throw failed(errno);
    return errno === 0;
  } finally {
    kernel.close(process);
  }
}

function nobody(name: string, spared: number[]): HoldfastError {
  return spared.length > 0
    ? new HoldfastError(
        "denied",
        `denied: host signal:${name}: the agent, its workers and pid 1 get no signals (${spared.join(", ")})`,
      )
    : new HoldfastError(
        "not_found",
        `no process of this host is named ${name} and runs an executable of that name`,
      );
}

function isNamed(pid: number, name: string): boolean {
  const comm = readText(`/proc/${pid}/comm`);
  if (comm?.trimEnd() !== name.slice(0, COMM_LENGTH)) return false;
  const executable = readLink(`/proc/${pid}/exe`);
  // An upgrade replaces the file under a running process; the kernel then says so behind its name.
  if (executable === null || basename(executable.replace(/ \(deleted\)$/, "")) !== name) return false;
  return readLink(`/proc/${pid}/ns/pid`) === readLink("/proc/self/ns/pid");
}

function isProtected(pid: number, trees: number[]): boolean {
  if (pid === 1 || readLink(`/proc/${pid}/exe`) === readLink("/proc/self/exe")) return true;
  // More steps than any tree is deep: parents change while we walk.
  for (let at = pid, steps = 0; at > 1 && steps < 1000; at = parentOf(at), steps++) {
    if (trees.includes(at)) return true;
  }
  return false;
}

/** 0 when it is gone. */
function parentOf(pid: number): number {
  const stat = readText(`/proc/${pid}/stat`);
  // The name is in parentheses and may hold anything, parentheses too.
  return stat === null ? 0 : Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]);
}

function readText(path: string): string | null {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return null;
  }
}

function readLink(path: string): string | null {
  try {
    return readlinkSync(path);
  } catch {
    return null;
  }
}
