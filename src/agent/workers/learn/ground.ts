import { readFileSync, realpathSync } from "node:fs";
import {
  HOST_MINIMUM,
  NAME_LOOKUP,
  PROGRAM_MINIMUM,
  SYSTEM_EXEC,
  SYSTEM_READ,
} from "../sandbox/system-paths.ts";

/** What the engine looks at when it starts, to choose its sizes; it does without. */
const ENGINE_LOOKS = ["/sys/fs/cgroup", "/proc/sys/vm", "/sys/kernel/mm"];

/** What workers get on this host without naming it, or by a name for all of it. Real paths. */
export interface Ground {
  /** Every plugin host, with what its engine can do without. */
  host: string[];
  /** Scripts, and hosts that start programs. */
  programs: string[];
  /** Whoever connects. */
  network: string[];
  /** `@system`, to be read and to be executed. */
  systemRead: string[];
  systemExec: string[];
  /** Addresses of the host's name servers: names are looked up by the agent. */
  nameServers: string[];
}

export function readGround(): Ground {
  return {
    host: [...realPaths(HOST_MINIMUM), ...ENGINE_LOOKS],
    programs: realPaths(PROGRAM_MINIMUM),
    network: realPaths(NAME_LOOKUP),
    systemRead: realPaths(SYSTEM_READ),
    systemExec: realPaths(SYSTEM_EXEC.filter(({ rights }) => rights.includes("execute"))),
    nameServers: nameServers(),
  };
}

/** Both as they are written and without links; `/proc/self` is another process here. */
function realPaths(rules: readonly { path: string }[]): string[] {
  return [
    ...new Set(
      rules.flatMap(({ path }) => {
        try {
          return path.startsWith("/proc/") ? [path] : [path, realpathSync(path)];
        } catch {
          return [path];
        }
      }),
    ),
  ];
}

function nameServers(): string[] {
  try {
    const text = readFileSync("/etc/resolv.conf", "utf8");
    return [...text.matchAll(/^nameserver\s+(\S+)/gm)].map(([, address]) => address!);
  } catch {
    return [];
  }
}
