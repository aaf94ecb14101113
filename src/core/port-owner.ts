import { readdirSync, readFileSync, readlinkSync } from "node:fs";

/**
 * Who listens on a TCP port of this host, as `pid 123 (nginx)`; undefined when that cannot be seen (another user's
 * process, not Linux). Reads /proc/net/tcp (proc(5)): the inode of the listening socket, then who holds it.
 */
export function portOwner(port: number): string | undefined {
  const inodes = new Set([...listeners("/proc/net/tcp", port), ...listeners("/proc/net/tcp6", port)]);
  if (inodes.size === 0) return undefined;
  for (const pid of read(() => readdirSync("/proc")) ?? []) {
    if (!/^\d+$/.test(pid)) continue;
    for (const fd of read(() => readdirSync(`/proc/${pid}/fd`)) ?? []) {
      const target = read(() => readlinkSync(`/proc/${pid}/fd/${fd}`)) ?? "";
      const inode = /^socket:\[(\d+)\]$/.exec(target)?.[1];
      if (inode === undefined || !inodes.has(inode)) continue;
      return `pid ${pid} (${(read(() => readFileSync(`/proc/${pid}/comm`, "utf8")) ?? "?").trim()})`;
    }
  }
  return undefined;
}

function listeners(table: string, port: number): string[] {
  const hex = port.toString(16).toUpperCase().padStart(4, "0");
  const lines = (read(() => readFileSync(table, "utf8")) ?? "").split("\n").slice(1);
  return lines
    .map((line) => line.trim().split(/\s+/))
    .filter((columns) => columns[1]?.endsWith(`:${hex}`) && columns[3] === "0A")
    .map((columns) => columns[9]!);
}

function read<T>(action: () => T): T | undefined {
  try {
    return action();
  } catch {
    return undefined;
  }
}
