import { mkdtempSync, rmSync } from "node:fs";
import { release, tmpdir } from "node:os";
import { join } from "node:path";
import { messageOf } from "../../../core/errors.ts";
import { detectCgroup } from "../limits/cgroup-facts.ts";
import type { KernelFacts } from "./kernel-facts.ts";
import { landlockAbi } from "./landlock.ts";
import type { LaunchPolicy } from "./launch-policy.ts";
import { archOf, ERRNO, errnoName, type Kernel, openKernel } from "./libc.ts";
import { USER_NAMESPACE } from "./plan-launch.ts";
import { tryLaunch } from "./probe-launch.ts";
import { whyNoNamespace } from "./user-namespaces.ts";

type Reasons = KernelFacts["reasons"];

/**
 * Finds out what workers can be held to on this host, by launching some that are held to it: `command` starts this program.
 * About 30 ms; the caller keeps the answer. The part of cgroup says only what was delegated; its controllers may not all
 * switch on.
 */
export async function probeKernel(command: string[]): Promise<KernelFacts> {
  const root = process.getuid?.() === 0;
  const reasons: Reasons = {};
  const cgroup = detectCgroup({ root });
  if (cgroup.kind === "none") reasons.cgroup = cgroup.reason;
  const facts: KernelFacts = {
    kernel: release(),
    arch: archOf(process.arch) ?? "other",
    root,
    landlockAbi: 0,
    seccomp: false,
    mountNamespace: false,
    netNamespace: false,
    cgroup,
    reasons,
  };
  try {
    Object.assign(facts, await tryAll(openKernel(), command, root, reasons));
  } catch (error) {
    const reason = messageOf(error);
    for (const name of ["landlock", "seccomp", "mountNamespace", "netNamespace"] as const)
      reasons[name] ??= reason;
  }
  return facts;
}

async function tryAll(kernel: Kernel, command: string[], root: boolean, reasons: Reasons) {
  const folder = mkdtempSync(join(tmpdir(), "holdfast-probe-"));
  const abi = landlockAbi(kernel);
  const inNamespaces = root ? command : [...USER_NAMESPACE, ...command];
  const attempt = (start: string[], policy: Partial<LaunchPolicy>) =>
    tryLaunch(kernel, start, { ...NOTHING, cwd: folder, ...policy });
  try {
    const [landlock, seccomp, mount, net] = await Promise.all([
      abi === 0
        ? whyNoLandlock(kernel)
        : attempt(command, { landlock: { paths: [], connect: [], bind: [] } }),
      attempt(command, { seccomp: NARROW }),
      attempt(inNamespaces, { mount: { own: folder, writable: [], hidden: [], replaced: [] } }),
      attempt(inNamespaces, { net: { tcp: [80], udp: [53] } }),
    ]);
    if (landlock !== null) reasons.landlock = landlock;
    if (seccomp !== null) reasons.seccomp = seccomp;
    if (mount !== null) reasons.mountNamespace = root ? mount : whyNoNamespace(mount);
    if (net !== null) reasons.netNamespace = root ? net : whyNoNamespace(net);
    return {
      landlockAbi: landlock === null ? abi : 0,
      seccomp: seccomp === null,
      mountNamespace: mount === null,
      netNamespace: net === null,
    };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Stage 1 has done everything else when it finds that this cannot be executed. */
const NO_PROGRAM = "/dev/null/none";
const NOTHING: LaunchPolicy = { program: NO_PROGRAM, argv: [], env: {}, cwd: "/", rlimits: {}, keepFds: 4 };
const NARROW: LaunchPolicy["seccomp"] = {
  fork: false,
  fileModes: false,
  sockets: "none",
  icmp: false,
  denyTruncate: true,
};

function whyNoLandlock(kernel: Kernel): string {
  const result = kernel.call("landlock_create_ruleset", null, 0, 1);
  if (result === -ERRNO.ENOSYS) return `Linux ${release()} is without Landlock`;
  if (result === -ERRNO.EOPNOTSUPP) return "Landlock is built into this kernel, but not switched on (lsm=)";
  return `Landlock cannot be used: ${errnoName(result)}`;
}
