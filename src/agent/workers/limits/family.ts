import {
  allProcesses,
  descendants,
  openFiles,
  type ProcStat,
  ProcReader,
  readMemory,
  readStat,
} from "./proc-stat.ts";
import { pssMemory } from "./pss.ts";

/** Between two looks at the lists of children: of a family that works, of one that rests, and of one process that does. */
const REFRESH_MS = 100;
const RESTING_REFRESH_MS = 500;
const LONE_REFRESH_MS = 2_000;
/** Between two looks through all of /proc (milliseconds each) for what broke away from its parents. */
const SCAN_MS = 2_000;
/** The same where the kernel has no lists of children. */
const ONLY_SCAN_MS = 500;

export interface FamilySample {
  /** Memory of all that is no file's; what several of them share counts in each. */
  memoryBytes: number;
  /** Grows only. */
  cpuMs: number;
  processes: number;
}

export interface FamilyOptions {
  /** Leader of a session of its own. */
  pid: number;
  /** It cannot start processes: nobody else is looked for. */
  alone: boolean;
  buffer: Buffer;
}

/** A worker's process and all that it started, as far as it can be followed. */
export class Family {
  readonly #options: FamilyOptions;
  readonly #leader: ProcReader;
  /** The others, by pid, with their start times: a number may be given to a stranger. */
  #others = new Map<number, number>();
  #groups = new Set<number>();
  #lastCpu = 0;
  #last: { leader: ProcStat; sample: FamilySample } | undefined;
  #cpuMs = 0;
  #refreshed: { at: number; cpuMs: number; leader?: ProcStat | null; runs?: string } = {
    at: -Infinity,
    cpuMs: 0,
  };
  #scanned: { at: number; cpuMs: number } | undefined;

  /** Throws when the process is gone. */
  constructor(options: FamilyOptions) {
    this.#options = options;
    this.#leader = new ProcReader(options.pid, options.buffer);
  }

  /** null when nobody is left; the same object as before when nothing has happened. */
  sample(now: number): FamilySample | null {
    const leader = this.#leader.stat();
    if (!this.#options.alone) this.#refresh(now, leader);
    if (leader === null && this.#others.size === 0) return null;
    // Every page that is touched for the first time is counted there too: without a change no memory was taken.
    if (this.#others.size === 0 && this.#last?.leader === leader) return this.#last.sample;
    const sample = this.#sum(leader);
    this.#last = leader === null || this.#others.size > 0 ? undefined : { leader, sample };
    return sample;
  }

  #sum(leader: ProcStat | null): FamilySample {
    const sum = {
      memoryBytes: this.#leader.memory() ?? 0,
      cpuMs: leader?.cpuMs ?? 0,
      processes: leader === null ? 0 : 1,
    };
    this.#groups = new Set([this.#options.pid]);
    for (const [pid, started] of this.#others) {
      const stat = readStat(pid);
      if (stat === null || stat.started !== started) {
        this.#others.delete(pid);
        continue;
      }
      this.#groups.add(stat.group);
      sum.memoryBytes += readMemory(pid) ?? 0;
      sum.cpuMs += stat.cpuMs;
      sum.processes++;
    }
    // Time of a child that nobody waited for is lost with it: the sum then falls, what was counted stays.
    this.#cpuMs += Math.max(0, sum.cpuMs - this.#lastCpu);
    this.#lastCpu = sum.cpuMs;
    return { ...sum, cpuMs: this.#cpuMs };
  }

  /**
   * The same memory with each page counted once; slow (milliseconds), for a decision. A page that a process comes to share
   * between the look at another and the look at it counts too often: what seems to pass `limit` is counted once more while
   * all of them stand still. `stopped`: they do already, and go on doing so.
   */
  exactMemoryBytes(limit: number, stopped: boolean): number {
    const moving = this.#dividedMemory();
    if (moving <= limit || stopped) return moving;
    this.signal("SIGSTOP");
    try {
      return this.#dividedMemory();
    } finally {
      this.signal("SIGCONT");
    }
  }

  #dividedMemory(): number {
    return this.pids().reduce((sum, pid) => sum + (pssMemory(pid) ?? readMemory(pid) ?? 0), 0);
  }

  /** Now, and all of it; where there are several, what they share counts once. */
  memoryBytes(): number {
    return this.#others.size === 0 ? (this.#leader.memory() ?? 0) : this.#dividedMemory();
  }

  /** Most that one of them has open. */
  openFiles(): number {
    return Math.max(...[this.#options.pid, ...this.#others.keys()].map(openFiles));
  }

  /** The leader, and the others that are still the same processes. */
  pids(): number[] {
    const others = [...this.#others].filter(([pid, started]) => readStat(pid)?.started === started);
    return [this.#options.pid, ...others.map(([pid]) => pid)];
  }

  /** Sends a signal to every process group of the family. */
  signal(signal: "SIGSTOP" | "SIGCONT"): void {
    for (const group of new Set([this.#options.pid, ...this.#groups])) {
      // A group that cannot be named safely is left alone: 0 and 1 mean others.
      if (group <= 1) continue;
      try {
        process.kill(-group, signal);
      } catch {
        // It has just ended.
      }
    }
  }

  close(): void {
    this.#leader.close();
  }

  /** Nobody starts a process without running: a family of which nobody ran is looked at seldom. */
  #refresh(now: number, leader: ProcStat | null): void {
    const cpuMs = Math.max(this.#cpuMs, leader?.cpuMs ?? Infinity);
    this.#scanned ??= { at: now, cpuMs: 0 };
    const since = now - this.#refreshed.at;
    if (since < REFRESH_MS) return;
    const runs = this.#leader.runs();
    const last = this.#refreshed;
    // Starting a process takes far less than the hundredth of a second in which the kernel tells processor time.
    const rested = cpuMs === last.cpuMs && leader === last.leader && runs === last.runs;
    if (rested && since < (this.#others.size === 0 ? LONE_REFRESH_MS : RESTING_REFRESH_MS)) return;
    this.#refreshed = { at: now, cpuMs, leader, runs };
    const listed = descendants(this.pids());
    for (const pid of listed ?? []) this.#add(readStat(pid));
    this.#scan(now, cpuMs, listed === null ? ONLY_SCAN_MS : SCAN_MS);
  }

  #scan(now: number, cpuMs: number, everyMs: number): void {
    if (now - this.#scanned!.at < everyMs || cpuMs === this.#scanned!.cpuMs) return;
    this.#scanned = { at: now, cpuMs };
    for (const stat of familyIn(allProcesses(), new Set(this.pids()))) this.#add(stat);
  }

  #add(stat: ProcStat | null): void {
    if (stat === null || stat.pid === this.#options.pid || stat.pid === process.pid) return;
    if (stat.state !== "Z") this.#others.set(stat.pid, stat.started);
  }
}

/** Members of the sessions and groups that `roots` lead, and what descends from them or from `roots`. */
export function familyIn(processes: ProcStat[], roots: ReadonlySet<number>): ProcStat[] {
  const members = new Set(roots);
  const found = new Map<number, ProcStat>();
  for (let before = -1; before !== found.size;) {
    before = found.size;
    for (const stat of processes) {
      if (found.has(stat.pid)) continue;
      const belongs = [stat.pid, stat.ppid, stat.session, stat.group].some((id) => members.has(id));
      if (!belongs) continue;
      members.add(stat.pid);
      found.set(stat.pid, stat);
    }
  }
  return [...found.values()];
}
