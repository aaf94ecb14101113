import { closeSync, openSync, readdirSync, readFileSync, readSync, statSync } from "node:fs";

/** The kernel gives times in /proc in hundredths of a second, on every architecture. */
const MS_PER_TICK = 10;
/** More than a status file takes, with the names of many groups. */
export const READ_BYTES = 8192;

/** What one line of /proc/PID/stat says, as far as limits need it. */
export interface ProcStat {
  pid: number;
  /** R running, S sleeping, T stopped, Z gone but not yet waited for … */
  state: string;
  ppid: number;
  group: number;
  session: number;
  /** Its own and that of the children it waited for. */
  cpuMs: number;
  threads: number;
  /** Ticks since boot; with the pid it names one process for good. */
  started: number;
}

/** The name of the program may hold blanks and brackets; what counts comes after the last bracket. */
export function parseStat(line: string): ProcStat {
  const end = line.lastIndexOf(")");
  const field = line.slice(end + 2).split(" ");
  const ticks = Number(field[11]) + Number(field[12]) + Number(field[13]) + Number(field[14]);
  return {
    pid: Number.parseInt(line, 10),
    state: field[0]!,
    ppid: Number(field[1]),
    group: Number(field[2]),
    session: Number(field[3]),
    cpuMs: ticks * MS_PER_TICK,
    threads: Number(field[17]),
    started: Number(field[19]),
  };
}

/**
 * Resident memory of a process that is no file's, from /proc/PID/status: heap, stacks and private copies, and memory that it
 * shares with others. Nothing for one that is gone but not yet waited for.
 */
export function parseMemory(status: string): number {
  return kilobytes(status, "\nRssAnon:") + kilobytes(status, "\nRssShmem:");
}

function kilobytes(status: string, name: string): number {
  const at = status.indexOf(name);
  return at < 0 ? 0 : Number.parseInt(status.slice(at + name.length, at + name.length + 24), 10) * 1024;
}

/**
 * One process through descriptors that stay open: a read costs 1 to 20 µs, and when the process is gone it fails instead of
 * telling of another that got the same number.
 */
export class ProcReader {
  readonly pid: number;
  readonly #stat: number;
  readonly #status: number;
  readonly #schedstat: number | undefined;
  readonly #buffer: Buffer;
  readonly #lastLine = Buffer.alloc(512);
  #last: ProcStat | undefined;

  /** `buffer` may be shared by all readers. Throws when there is no such process. */
  constructor(pid: number, buffer: Buffer = Buffer.allocUnsafe(READ_BYTES)) {
    this.pid = pid;
    this.#buffer = buffer;
    this.#stat = openSync(`/proc/${pid}/stat`, "r");
    try {
      this.#status = openSync(`/proc/${pid}/status`, "r");
    } catch (error) {
      closeSync(this.#stat);
      throw error;
    }
    this.#schedstat = openOptional(`/proc/${pid}/schedstat`);
  }

  /** null when the process is gone; the same object as before when nothing at all has happened in it. */
  stat(): ProcStat | null {
    const length = this.#read(this.#stat);
    if (length === 0) return null;
    if (this.#last && this.#buffer.compare(this.#lastLine, 0, length, 0, length) === 0) return this.#last;
    this.#buffer.copy(this.#lastLine, 0, 0, length);
    this.#last = parseStat(this.#buffer.toString("latin1", 0, length));
    return this.#last;
  }

  memory(): number | null {
    const length = this.#read(this.#status);
    return length === 0 ? null : parseMemory(this.#buffer.toString("latin1", 0, length));
  }

  /**
   * Changes whenever the first thread has run, however shortly: nanoseconds on a processor, and how often. Empty where the
   * kernel does not count them.
   */
  runs(): string {
    if (this.#schedstat === undefined) return "";
    return this.#buffer.toString("latin1", 0, this.#read(this.#schedstat));
  }

  close(): void {
    for (const fd of [this.#stat, this.#status, this.#schedstat]) if (fd !== undefined) closeSync(fd);
  }

  #read(fd: number): number {
    try {
      return readSync(fd, this.#buffer, 0, this.#buffer.length, 0);
    } catch {
      return 0;
    }
  }
}

function openOptional(path: string): number | undefined {
  try {
    return openSync(path, "r");
  } catch {
    return undefined;
  }
}

export function readMemory(pid: number): number | null {
  try {
    return parseMemory(readFileSync(`/proc/${pid}/status`, "latin1"));
  } catch {
    return null;
  }
}

/** Descriptors that a process has open: the size of the folder, which kernels before 6.2 give as 0. */
export function openFiles(pid: number): number {
  try {
    return statSync(`/proc/${pid}/fd`).size;
  } catch {
    return 0;
  }
}

export function readStat(pid: number): ProcStat | null {
  try {
    return parseStat(readFileSync(`/proc/${pid}/stat`, "latin1"));
  } catch {
    return null;
  }
}

/** All processes that can be seen. About 10 µs a process: for a kill and for slow looks, not for a tick. */
export function allProcesses(): ProcStat[] {
  const found: ProcStat[] = [];
  for (const name of readdirSync("/proc")) {
    const first = name.charCodeAt(0);
    if (first < 48 || first > 57) continue;
    const stat = readStat(Number(name));
    if (stat) found.push(stat);
  }
  return found;
}

/** Children of all threads of a process; null where the kernel is built without the list. */
export function childrenOf(pid: number): number[] | null {
  const children: number[] = [];
  let threads: string[];
  try {
    threads = readdirSync(`/proc/${pid}/task`);
  } catch {
    return [];
  }
  for (const thread of threads) {
    try {
      const line = readFileSync(`/proc/${pid}/task/${thread}/children`, "latin1");
      for (const text of line.split(" ")) if (text !== "") children.push(Number(text));
    } catch {
      // Either this thread has just ended, or no kernel list exists at all.
      if (thread === String(pid) && readStat(pid) !== null) return null;
    }
  }
  return children;
}

/** The processes and what descends from them without a break, by the kernel's lists; null where there are none. */
export function descendants(roots: readonly number[]): number[] | null {
  const found = new Set(roots);
  for (const pid of found) {
    const children = childrenOf(pid);
    if (children === null) return null;
    for (const child of children) found.add(child);
  }
  return [...found];
}
