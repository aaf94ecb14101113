/**
 * What stage 1 (`holdfast __launch`) does to itself before it becomes the worker. It comes as the first frame on fd 3: a
 * 4-byte big-endian length and JSON. Pure data: made by `planLaunch` from a grant and the kernel's facts.
 */
export interface LaunchPolicy {
  /** Program to become, absolute, and its arguments (argv[0] included). */
  program: string;
  argv: string[];
  /** The whole environment. */
  env: Record<string, string>;
  cwd: string;
  /** Leaf of cgroup v2 to join (its folder), if there is one. */
  cgroup?: string;
  /** Becomes this user without other groups; only as root. */
  uid?: number;
  /** With `uid`; the same number when absent. */
  gid?: number;
  nice?: number;
  mount?: MountPolicy;
  /** A network namespace of its own. */
  net?: NetPolicy;
  landlock?: LandlockPolicy;
  seccomp?: SeccompPolicy;
  /** The filter of `seccomp` for this process, ready to be installed (base64); without it stage 1 makes it. */
  filter?: string;
  /** Soft and hard value, in the kernel's units (bytes, seconds, counts). */
  rlimits: Partial<Record<RlimitName, number>>;
  /** Descriptors that stay open: 0 up to this one, exclusive. */
  keepFds: number;
  /** Capabilities and set-user-id programs stay as they are: for `sandbox: off`. */
  keepPrivileges?: boolean;
  /** What is tried is told to a listener, and not refused; see learn/learn.ts. */
  learn?: boolean;
}

export type RlimitName = "CPU" | "FSIZE" | "DATA" | "CORE" | "NPROC" | "NOFILE";

/** A mount namespace in which everything is read-only but `writable`. */
export interface MountPolicy {
  writable: string[];
  /** Its own folder, writable too; links on the way to it are followed, since no worker can have made them. */
  own?: string;
  /** Files and folders that are covered by an empty, read-only one. */
  hidden: string[];
  /** Files that are covered by others: `/etc/resolv.conf` → a file in the worker's folder. */
  replaced: { path: string; by: string }[];
}

/** Own network namespace: loopback up, every address local, and sockets that are handed to the agent before the start. */
export interface NetPolicy {
  /** TCP ports on which the agent accepts what the worker connects to. */
  tcp: number[];
  /** UDP ports that the agent answers (53 for names). */
  udp: number[];
}

export type PathRight = "list" | "read" | "execute" | "write";

export interface LandlockPolicy {
  /** What the plan was made for; of a kernel that has more, no more is used. All of it when absent. */
  abi?: number;
  /** A path with a symbolic link in it fails the launch, unless `follow`: paths that only the host's owner can change. */
  paths: { path: string; rights: PathRight[]; follow?: boolean }[];
  /** TCP ports; "any" does not restrict them (own namespace, or a `*` grant). */
  connect: number[] | "any";
  bind: number[] | "any";
}

export interface SeccompPolicy {
  /** Processes may be started. Threads always may. */
  fork: boolean;
  /** chmod, chown, utimes, setpgid, setsid, mkfifo: only where they cannot reach outside its folders. */
  fileModes: boolean;
  /**
   * `none`: no socket(2) at all. `tcp`: TCP only. `all`: TCP and UDP. Unix sockets never (a connected pair always): no rule
   * can tell one path from another.
   */
  sockets: "none" | "tcp" | "all";
  /** It may accept connections, but not connect: for a Landlock that knows no ports. */
  listenOnly?: boolean;
  icmp: boolean;
  /** The kernel's Landlock cannot hold truncate: the filter must. */
  denyTruncate: boolean;
}
