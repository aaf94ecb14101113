import { readdirSync, readFileSync, readlinkSync } from "node:fs";

interface Stat {
  pid: number;
  parent: number;
  session: number;
}

function stats(): Stat[] {
  const found: Stat[] = [];
  for (const name of readdirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    try {
      const line = readFileSync(`/proc/${name}/stat`, "utf8");
      const fields = line.slice(line.lastIndexOf(")") + 2).split(" ");
      const [parent, session] = [Number(fields[1]), Number(fields[3])];
      found.push({ pid: Number(name), parent, session });
    } catch {
      // It ended between the two looks.
    }
  }
  return found;
}

/** Everything that a worker has started and that is still there, itself included. */
export function familyOf(pid: number): number[] {
  return members(pid).map((stat) => stat.pid);
}

/** Ends what still works in a folder of the suite: all that it starts does. */
export function killStrays(folder: string): void {
  const strays = () => stats().filter(({ pid }) => pid !== process.pid && worksIn(pid, folder));
  for (let found = strays(); found.length > 0; found = strays()) {
    for (const { pid } of found) {
      try {
        process.kill(pid, "SIGKILL");
      } catch {
        // It has just ended.
      }
    }
  }
}

function worksIn(pid: number, folder: string): boolean {
  try {
    return readlinkSync(`/proc/${pid}/cwd`).startsWith(`${folder}/`);
  } catch {
    return false;
  }
}

export interface CpuUse {
  /** Milliseconds on a processor. */
  used: number;
  /** The same, and milliseconds of waiting for one: what it would have used on an idle machine. */
  wanted: number;
}

/** Of a worker and all that it started, of what is still there. */
export function cpuUse(pid: number): CpuUse {
  const use = { used: 0, wanted: 0 };
  for (const member of familyOf(pid)) {
    for (const task of tasksOf(member)) {
      const [running = 0, waiting = 0] = schedstat(member, task);
      use.used += running / 1e6;
      use.wanted += (running + waiting) / 1e6;
    }
  }
  return use;
}

function tasksOf(pid: number): string[] {
  try {
    return readdirSync(`/proc/${pid}/task`);
  } catch {
    return [];
  }
}

function schedstat(pid: number, task: string): number[] {
  try {
    return readFileSync(`/proc/${pid}/task/${task}/schedstat`, "utf8").split(" ").map(Number);
  } catch {
    return [];
  }
}

function members(pid: number): Stat[] {
  const all = stats();
  const family = new Set(
    all.filter((stat) => stat.pid === pid || stat.session === pid).map((stat) => stat.pid),
  );
  for (let size = -1; size !== family.size;) {
    size = family.size;
    for (const stat of all) if (family.has(stat.parent)) family.add(stat.pid);
  }
  return all.filter((stat) => family.has(stat.pid));
}
