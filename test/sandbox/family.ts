import { readdirSync, readFileSync } from "node:fs";

interface Stat {
  pid: number;
  parent: number;
  session: number;
  /** Processor time in ticks, that of children who were waited for included. */
  ticks: number;
}

function stats(): Stat[] {
  const found: Stat[] = [];
  for (const name of readdirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    try {
      const line = readFileSync(`/proc/${name}/stat`, "utf8");
      const fields = line.slice(line.lastIndexOf(")") + 2).split(" ");
      const [parent, session] = [Number(fields[1]), Number(fields[3])];
      const ticks = [11, 12, 13, 14].reduce((sum, at) => sum + Number(fields[at]), 0);
      found.push({ pid: Number(name), parent, session, ticks });
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

/** Seconds of processor time of a worker and all that it started. */
export function cpuSeconds(pid: number): number {
  return members(pid).reduce((sum, stat) => sum + stat.ticks, 0) / 100;
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
