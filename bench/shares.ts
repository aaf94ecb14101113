/** Processor time of the agent's threads and of its workers, from /proc. Linux only. */
import { readdirSync, readFileSync } from "node:fs";
import { childrenOf } from "./processes.ts";

export interface Shares {
  main: number;
  storage: number;
  /** Compiler and garbage collector. */
  rest: number;
  workers: number;
  /** Time for which one of these was ready to run and had no processor: what else the machine was busy with. */
  waited: number;
}

/** Milliseconds so far. Bun calls the thread of a Worker `Worker`; the rest is its compiler and its collector. */
export function sharesOf(pid: number): Shares {
  const shares = { main: 0, storage: 0, rest: 0, workers: 0, waited: 0 };
  for (const thread of readdirSync(`/proc/${pid}/task`)) {
    const { ms, waitedMs } = timesOf(pid, thread);
    shares.waited += waitedMs;
    if (thread === String(pid)) shares.main += ms;
    else if (nameOf(pid, thread).startsWith("Worker")) shares.storage += ms;
    else shares.rest += ms;
  }
  for (const child of descendantsOf(pid)) {
    for (const thread of readdirSync(`/proc/${child}/task`)) {
      const { ms, waitedMs } = timesOf(child, thread);
      shares.workers += ms;
      shares.waited += waitedMs;
    }
  }
  return shares;
}

/** Microseconds for each of `count`. */
export function perUnit(before: Shares, after: Shares, count: number): Shares {
  const of = (key: keyof Shares) => ((after[key] - before[key]) * 1000) / count;
  return {
    main: of("main"),
    storage: of("storage"),
    rest: of("rest"),
    workers: of("workers"),
    waited: of("waited"),
  };
}

function descendantsOf(pid: number): number[] {
  return childrenOf(pid).flatMap((child) => [child, ...descendantsOf(child)]);
}

function timesOf(pid: number, thread: string): { ms: number; waitedMs: number } {
  const [ran, waited] = readFileSync(`/proc/${pid}/task/${thread}/schedstat`, "utf8").split(" ");
  return { ms: Number(ran) / 1e6, waitedMs: Number(waited) / 1e6 };
}

function nameOf(pid: number, thread: string): string {
  return readFileSync(`/proc/${pid}/task/${thread}/comm`, "utf8").trim();
}
