import type { Protection, Protections } from "../../../model/protection.ts";
import { type KernelFacts, LANDLOCK_PORTS, LANDLOCK_TRUNCATE } from "./kernel-facts.ts";
import {
  MODES,
  READS,
  READS_OF_THE_AGENT,
  SIGNALS,
  SOCKETS,
  SYSTEM_CALLS,
  TRUNCATES,
  USES,
  USES_PAST_WATCHING,
  WRITES,
} from "./known-attacks.ts";

/** From this ABI of Landlock on, signals stay within the worker. */
const LANDLOCK_SCOPES = 6;
const CONTROLLERS = ["memory", "pids", "cpu"] as const;
const ALLOW_NAMESPACES =
  "allow user namespaces to the agent's user (user.max_user_namespaces, AppArmor), with /usr/bin/unshare of util-linux";

/** The four levels of this host. `own.uid`: workers get users of their own. */
export function protectionsOf(
  facts: KernelFacts,
  sandbox: "on" | "strict" | "off",
  own: { uid: boolean },
): Protections {
  if (sandbox === "off") return unconfined();
  return {
    filesystem: filesystem(facts, own),
    network: network(facts),
    "system calls": systemCalls(facts, own),
    limits: limits(facts),
  };
}

function unconfined(): Protections {
  const off = (unprotected: string[]): Protection => ({
    level: "missing",
    reason: "the policy says `sandbox: off`",
    fix: "say `sandbox: on` in policy.yaml",
    unprotected,
  });
  return {
    filesystem: off([...READS, ...READS_OF_THE_AGENT, ...WRITES, ...TRUNCATES, ...MODES]),
    network: off(SOCKETS),
    "system calls": off(SYSTEM_CALLS),
    limits: off(USES),
  };
}

function enforced(reason: string): Protection {
  return { level: "enforced", reason, unprotected: [] };
}

function filesystem(facts: KernelFacts, own: { uid: boolean }): Protection {
  const { landlockAbi, mountNamespace, seccomp } = facts;
  if (landlockAbi === 0) return filesystemWithoutLandlock(facts, own);
  const by = `Landlock ABI ${landlockAbi}`;
  if (mountNamespace) return enforced(`by ${by} and a mount namespace in which the rest is read-only`);
  if (landlockAbi >= LANDLOCK_TRUNCATE && seccomp) return enforced(`by ${by} and the system call filter`);
  return {
    level: "partial",
    reason: seccomp
      ? `${by} (${linux(facts)}) does not hold truncating, which the system call filter refuses instead`
      : `${by} does not see changes of modes, owners and times${because(facts.reasons.mountNamespace)}`,
    fix: landlockAbi < LANDLOCK_TRUNCATE ? `Linux 6.2 or newer, or ${ALLOW_NAMESPACES}` : ALLOW_NAMESPACES,
    unprotected: seccomp ? [] : [...(landlockAbi < LANDLOCK_TRUNCATE ? TRUNCATES : []), ...MODES],
  };
}

function filesystemWithoutLandlock(facts: KernelFacts, own: { uid: boolean }): Protection {
  const { mountNamespace, seccomp, root } = facts;
  const fix = "Linux 6.2 or newer with Landlock switched on (lsm=landlock,…)";
  const why = facts.reasons.landlock ?? `${linux(facts)} has no Landlock`;
  // The agent's memory and environment: closed to other users; and but for the numbers of its descriptors to who is in a
  // user namespace below.
  const below = mountNamespace && !root;
  const readsAgent = own.uid ? [] : below ? ["read.proc-parent-fds"] : READS_OF_THE_AGENT;
  if (!mountNamespace) {
    const unprotected = [...READS, ...readsAgent, ...WRITES, ...TRUNCATES, ...(seccomp ? [] : MODES)];
    return { level: "missing", reason: `${why}; only modes and owners of files count`, fix, unprotected };
  }
  return {
    level: "partial",
    reason: `${why}: what is not granted is read-only by a mount namespace, but a worker reads what ${
      own.uid ? "every user of this host may read" : "the agent's user may read, but for what is covered"
    }`,
    fix,
    unprotected: [...READS, ...readsAgent],
  };
}

function network({ seccomp, netNamespace, landlockAbi, ...facts }: KernelFacts): Protection {
  const fix = "Linux 6.7 or newer with Landlock switched on (lsm=landlock,…)";
  if (!seccomp) {
    const ports = landlockAbi >= LANDLOCK_PORTS;
    return {
      level: ports ? "partial" : "missing",
      reason: `${facts.reasons.seccomp ?? "no system call filter"}: ${ports ? "only TCP ports are held" : "every worker can make sockets"}`,
      fix: "a kernel with seccomp filters (CONFIG_SECCOMP_FILTER)",
      unprotected: SOCKETS,
    };
  }
  const without = "a worker without a network grant can make no socket";
  if (landlockAbi >= LANDLOCK_PORTS) {
    const how = netNamespace
      ? "one with a grant has a network of its own"
      : "one with a grant reaches the agent's port alone";
    return enforced(`${without}, ${how}`);
  }
  return {
    level: "partial",
    reason: `${without}, but one that may listen can do so on any port: ${landlock({ landlockAbi, ...facts })} knows no ports`,
    fix,
    unprotected: [],
  };
}

function systemCalls(facts: KernelFacts, own: { uid: boolean }): Protection {
  if (!facts.seccomp) {
    return {
      level: "missing",
      reason: facts.reasons.seccomp ?? `${linux(facts)} filters no system calls`,
      fix: "a kernel with seccomp filters (CONFIG_SECCOMP_FILTER)",
      unprotected: SYSTEM_CALLS,
    };
  }
  if (facts.landlockAbi >= LANDLOCK_SCOPES)
    return enforced("by a seccomp filter, no_new_privs and no capabilities");
  return {
    level: "partial",
    reason: own.uid
      ? `a worker that may start programs and write outside its folder has the agent's user, and ${landlock(facts)} keeps no signals in`
      : `a worker that may start programs can signal processes of the agent's user: ${landlock(facts)} keeps no signals in`,
    fix: "Linux 6.12 or newer with Landlock switched on (lsm=landlock,…)",
    unprotected: own.uid ? [] : SIGNALS,
  };
}

function limits({ cgroup }: KernelFacts): Protection {
  const missing =
    cgroup.kind === "none"
      ? [...CONTROLLERS]
      : CONTROLLERS.filter((name) => !cgroup.controllers.includes(name));
  if (missing.length === 0) return enforced("by cgroup v2 (memory, pids, cpu), and by resource limits");
  return {
    level: "partial",
    reason: `${missing.join(", ")} ${missing.length === 1 ? "is" : "are"} held by watching and by resource limits: ${cgroup.reason}`,
    fix: "run the agent in a systemd unit with Delegate=cpu memory pids, on a host with cgroup v2",
    unprotected: missing.flatMap((name) => USES_PAST_WATCHING[name]),
  };
}

function landlock({
  landlockAbi,
  ...facts
}: Pick<KernelFacts, "landlockAbi" | "kernel" | "reasons">): string {
  return landlockAbi === 0
    ? (facts.reasons.landlock ?? "no Landlock, which")
    : `Landlock ABI ${landlockAbi} of ${linux(facts)}`;
}

function linux({ kernel }: Pick<KernelFacts, "kernel">): string {
  return `Linux ${kernel}`;
}

function because(reason: string | undefined): string {
  return reason === undefined ? "" : `, and there is no mount namespace: ${reason}`;
}
