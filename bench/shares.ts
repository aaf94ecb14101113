/** Processor time of the agent's threads and of its workers, from /proc. Linux only. */
import { readdirSync, readFileSync } from "node:fs";
import { childrenOf } from "./processes.ts";

export interface Shares {
  main: number;
  storage: number;
  /** Compiler and garbage collector. */
  rest: number;
  workers: number;
}

/** Milliseconds so far. The storage thread is the busiest of those that are neither the main one nor the engine's own. */
export function sharesOf(pid: number): Shares {
  const shares = { main: 0, storage: 0, rest: 0, workers: 0 };
  for (const thread of readdirSync(`/proc/${pid}/task`)) {
    const ms = threadMs(pid, thread);
    if (thread === String(pid)) shares.main += ms;
    else if (nameOf(pid, thread).startsWith("Worker")) shares.storage += ms;
    else shares.rest += ms;
  }
  for (const child of descendantsOf(pid)) {
    for (const thread of readdirSync(`/proc/${child}/task`)) shares.workers += threadMs(child, thread);
  }
  return shares;
}

/** Microseconds for each of `count`. */
export function perUnit(before: Shares, after: Shares, count: number): Shares {
  const of = (key: keyof Shares) => ((after[key] - before[key]) * 1000) / count;
  return { main: of("main"), storage: of("storage"), rest: of("rest"), workers: of("workers") };
}

function descendantsOf(pid: number): number[] {
  return childrenOf(pid).flatMap((child) => [child, ...descendantsOf(child)]);
}

function threadMs(pid: number, thread: string): number {
  return Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, "utf8").split(" ")[0]) / 1e6;
}

function nameOf(pid: number, thread: string): string {
  return readFileSync(`/proc/${pid}/task/${thread}/comm`, "utf8").trim();
}
