import { readStat } from "../limits/proc-stat.ts";
import { leaderOf } from "./socket-kinds.ts";

/** The processes that made calls: what left its group, session and parents is still known here. */
export class SeenProcesses {
  readonly #threads = new Set<number>();
  /** By pid, when it started: its number may be given to a stranger. */
  readonly #started = new Map<number, number>();

  /** Of a thread that is waiting in a call. What it gives back keeps the process, once it is sure that it still waits. */
  look(tid: number): () => void {
    if (this.#threads.has(tid)) return () => {};
    const stat = readStat(leaderOf(tid));
    if (stat === null) return () => {};
    return () => {
      this.#threads.add(tid);
      this.#started.set(stat.pid, stat.started);
    };
  }

  /** Kills those that still live. */
  kill(): void {
    for (const [pid, started] of this.#started) {
      const stat = readStat(pid);
      if (stat === null || stat.started !== started || stat.state === "Z") continue;
      try {
        process.kill(pid, "SIGKILL");
      } catch {
        // It has just ended.
      }
    }
  }
}
