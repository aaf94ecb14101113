/** From Landlock ABI 3 on truncating is a right, from 4 on ports are. */
export const LANDLOCK_TRUNCATE = 3;
export const LANDLOCK_PORTS = 4;

/** What this host's kernel offers, probed once by really doing it in a child process. */
export interface KernelFacts {
  kernel: string;
  arch: "x64" | "arm64" | "other";
  root: boolean;
  /** 0: none. */
  landlockAbi: number;
  seccomp: boolean;
  /** Own user and mount namespace work (as root: mount alone), and mount_setattr. */
  mountNamespace: boolean;
  /** Own network namespace works and its sockets can be handed to the agent. */
  netNamespace: boolean;
  cgroup: CgroupFacts;
  /** Why something is missing, by the fact's name. */
  reasons: Partial<Record<"landlock" | "seccomp" | "mountNamespace" | "netNamespace" | "cgroup", string>>;
}

export type CgroupFacts =
  | { kind: "none"; reason: string }
  /** Cgroup v2 that was delegated to the agent; `controllers` are those that could be switched on. */
  | { kind: "v2"; folder: string; controllers: ("memory" | "pids" | "cpu")[]; reason: string };
