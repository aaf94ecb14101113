import { dirname } from "node:path";
import type { Grant } from "../../../model/grant.ts";
import { SYSTEM_PATHS } from "../../../model/permissions.ts";
import { type KernelFacts, LANDLOCK_PORTS, LANDLOCK_TRUNCATE } from "./kernel-facts.ts";
import type {
  LandlockPolicy,
  LaunchPolicy,
  MountPolicy,
  NetPolicy,
  PathRight,
  SeccompPolicy,
} from "./launch-policy.ts";
import { fewerRules } from "./path-rules.ts";
import { planLimits } from "./plan-limits.ts";
import { NO_EXEC_VARIABLE } from "./stage-two-variable.ts";
import { HOST_MINIMUM, NAME_LOOKUP, PROGRAM_MINIMUM, SYSTEM_EXEC, SYSTEM_READ } from "./system-paths.ts";

export interface PlanOptions {
  grant: Grant;
  kernel: KernelFacts;
  worker: WorkerPlan;
  network?: { net?: NetPolicy; proxyPort?: number; replaced?: { path: string; by: string }[] };
  /** Folder of its leaf of cgroup v2. */
  cgroup?: string;
}

export interface WorkerPlan {
  /** `host`: this program as a plugin host; `script`: any other program. */
  kind: "host" | "script";
  program: string;
  argv: string[];
  env: Record<string, string>;
  cwd: string;
  /** Its own, which it may fill as it likes. */
  folder: string;
  /** Files and folders of the plugin that are to be read. */
  code: string[];
  /** A user of its own; only where the agent is root. */
  uid?: number;
  gid?: number;
}

/** In front of stage 1 for an agent that is not root: a user namespace cannot be made by a process with threads. */
export const USER_NAMESPACE = ["/usr/bin/unshare", "-U", "--map-current-user", "--keep-caps", "--"];

/** The engine reserves 10 GB, all of which count as data; so it starts from 229 MB. */
export const SMALL_ENGINE = {
  BUN_JSC_structureHeapSizeInKB: "65536",
  BUN_JSC_jitMemoryReservationSize: "33554432",
  MIMALLOC_ARENA_RESERVE: "65536",
} as const;

/** What goes in front of `holdfast __launch` for this policy. */
export function launchPrefix(
  kernel: Pick<KernelFacts, "root">,
  policy: Pick<LaunchPolicy, "mount" | "net">,
): string[] {
  return !kernel.root && (policy.mount || policy.net) ? USER_NAMESPACE : [];
}

/** What stage 1 does for this worker: all that its grant does not need is taken away, as far as the kernel can. */
export function planLaunch(options: PlanOptions): LaunchPolicy {
  const { grant, kernel, worker, cgroup } = options;
  const { program, argv, cwd, uid, gid } = worker;
  const common = { program, argv, cwd, keepFds: 4 };
  if (grant.sandbox === "off") return { ...common, env: worker.env, rlimits: {}, keepPrivileges: true };
  const mount = planMounts(options);
  const net = options.network?.net;
  const rlimits = planLimits({
    resources: grant.resources,
    host: worker.kind === "host",
    ownUser: uid !== undefined || launchPrefix(kernel, { mount, net }).length > 0,
    memoryByCgroup: cgroup !== undefined && hasController(kernel, "memory"),
  });
  return {
    ...common,
    env: environment(options, rlimits),
    ...(cgroup === undefined ? {} : { cgroup }),
    ...(uid === undefined ? {} : { uid, gid: gid ?? uid }),
    ...(mount ? { mount } : {}),
    ...(net ? { net } : {}),
    ...(kernel.landlockAbi > 0 ? { landlock: planLandlock(options) } : {}),
    ...(kernel.seccomp ? { seccomp: planSeccomp(options, mount !== undefined) } : {}),
    rlimits,
  };
}

const hasController = (kernel: KernelFacts, name: "memory"): boolean =>
  kernel.cgroup.kind === "v2" && kernel.cgroup.controllers.includes(name);

function environment(
  { grant, worker }: PlanOptions,
  rlimits: LaunchPolicy["rlimits"],
): Record<string, string> {
  if (worker.kind === "script") return worker.env;
  return {
    ...worker.env,
    ...(grant.exec.length === 0 ? { [NO_EXEC_VARIABLE]: "1" } : {}),
    ...(rlimits.DATA === undefined ? {} : SMALL_ENGINE),
  };
}

/** Wherever the kernel allows: nothing else holds what Landlock does not see, and everyday commands can work in it. */
function planMounts({ grant, kernel, worker, network }: PlanOptions): MountPolicy | undefined {
  if (!kernel.mountNamespace) return undefined;
  const writable = grant.write.filter(isPath);
  return { own: worker.folder, writable, hidden: grant.hidden, replaced: network?.replaced ?? [] };
}

const isPath = (path: string): boolean => path !== SYSTEM_PATHS;

function planLandlock(options: PlanOptions): LandlockPolicy {
  const { grant, kernel, network } = options;
  const { net } = network ?? {};
  const proxyPort = proxyPortOf(options);
  return {
    abi: kernel.landlockAbi,
    paths: planPaths(options),
    connect: net ? "any" : proxyPort === undefined ? [] : [proxyPort],
    bind: net ? "any" : grant.listen,
  };
}

/** Only Landlock can say that this port is the only one. */
function proxyPortOf({ kernel, network }: PlanOptions): number | undefined {
  return kernel.landlockAbi >= LANDLOCK_PORTS ? network?.proxyPort : undefined;
}

function planPaths({ grant, worker, network }: PlanOptions): LandlockPolicy["paths"] {
  const startsPrograms = worker.kind === "script" || grant.exec.length > 0;
  const networked = network?.net !== undefined || network?.proxyPort !== undefined;
  return fewerRules([
    ...(worker.kind === "host" ? HOST_MINIMUM : []),
    ...(startsPrograms ? PROGRAM_MINIMUM : []),
    ...(networked ? NAME_LOOKUP : []),
    { path: worker.program, rights: ["read", "execute"], follow: true },
    ...worker.code.flatMap(codeRules),
    rule(worker.folder, ["list", "read", "write"], true),
    ...granted(grant.read, SYSTEM_READ, ["list", "read"]),
    ...granted(grant.write, SYSTEM_READ, ["list", "read", "write"]),
    ...granted(grant.exec, SYSTEM_EXEC, ["list", "read", "execute"]),
  ]);
}

function codeRules(path: string): LandlockPolicy["paths"] {
  // The module resolver finds a file, or node_modules, only where it may list the folder that it is in.
  return [rule(path, ["list", "read"], true), rule(dirname(path), ["list"], true)];
}

function rule(path: string, rights: PathRight[], follow: boolean): LandlockPolicy["paths"][number] {
  return { path, rights, follow };
}

function granted(
  paths: string[],
  system: LandlockPolicy["paths"],
  rights: PathRight[],
): LandlockPolicy["paths"] {
  return paths.flatMap((path) => (isPath(path) ? [{ path, rights }] : system));
}

function planSeccomp(options: PlanOptions, ownMounts: boolean): SeccompPolicy {
  const { grant, kernel, network } = options;
  const net = network?.net !== undefined;
  const tcp = grant.listen.length > 0 || proxyPortOf(options) !== undefined;
  const noPorts = kernel.landlockAbi < LANDLOCK_PORTS;
  return {
    fork: grant.exec.length > 0,
    // A user of its own would not do: times and attributes of what everybody may write are everybody's to change.
    fileModes: ownMounts,
    sockets: net ? "all" : tcp ? "tcp" : "none",
    ...(!net && tcp && noPorts ? { listenOnly: true } : {}),
    icmp: grant.icmp,
    denyTruncate: !ownMounts && kernel.landlockAbi > 0 && kernel.landlockAbi < LANDLOCK_TRUNCATE,
  };
}
