import type { KernelFacts } from "../../src/agent/workers/sandbox/kernel-facts.ts";

/** Parts that a kernel may lack. The launcher then goes without them, so that most of it can be tried on any host. */
export const LACKS = ["landlock", "seccomp", "mountNamespace", "netNamespace", "cgroup"] as const;
export type Lack = (typeof LACKS)[number];

/** What `probeKernel` would have found without these; `abi` lowers the version of Landlock. */
export function degrade(facts: KernelFacts, lacks: Lack[], abi = facts.landlockAbi): KernelFacts {
  const reason = "left out by the test";
  const without = (name: Lack) => lacks.includes(name);
  return {
    ...facts,
    landlockAbi: without("landlock") ? 0 : Math.min(abi, facts.landlockAbi),
    seccomp: facts.seccomp && !without("seccomp"),
    mountNamespace: facts.mountNamespace && !without("mountNamespace"),
    netNamespace: facts.netNamespace && !without("netNamespace"),
    cgroup: without("cgroup") ? { kind: "none", reason } : facts.cgroup,
    reasons: { ...facts.reasons, ...Object.fromEntries(lacks.map((name) => [name, reason])) },
  };
}
