import { HoldfastError, messageOf } from "../../../core/errors.ts";
import { announceListener } from "../learn/announce-listener.ts";
import { becomeUser, dieWithAgent, dropPrivileges } from "./capabilities.ts";
import { becomeProgram } from "./exec.ts";
import { restrictPaths } from "./landlock.ts";
import { LaunchChannel } from "./launch-channel.ts";
import type { LaunchPolicy, SeccompPolicy } from "./launch-policy.ts";
import { type Kernel, must, openKernel } from "./libc.ts";
import { enterMounts } from "./mount-namespace.ts";
import { enterNetwork } from "./net-namespace.ts";
import { applyLimits } from "./rlimits.ts";
import { installFilter } from "./seccomp.ts";
import { seccompFilter } from "./seccomp-filter.ts";

/** EX_CONFIG of sysexits.h: nothing was run. */
export const NOT_CONFINED_EXIT = 78;
const AT_FDCWD = -100;
const O_WRONLY_CLOEXEC = 0o2000001;
const PRIO_PROCESS = 0;

/**
 * `holdfast __launch`: restricts this process to the policy that comes on fd 3, then becomes the worker's program. What is
 * restricted before execve holds for every thread of that program. Anything that fails ends it here: a frame `failed`
 * on fd 3, and the exit code 78.
 */
export function runStageOne(): never {
  let channel: LaunchChannel | undefined;
  let kernel: Kernel | undefined;
  try {
    kernel = openKernel();
    channel = new LaunchChannel(kernel);
    const policy = channel.read("launch policy") as LaunchPolicy;
    confine(kernel, policy, channel);
    becomeProgram(kernel, policy);
  } catch (error) {
    report(channel, messageOf(error));
    kernel?.call("exit_group", NOT_CONFINED_EXIT);
    process.exit(NOT_CONFINED_EXIT);
  }
}

/** The order matters: each step takes away what the ones before it needed. */
function confine(kernel: Kernel, policy: LaunchPolicy, channel: LaunchChannel): void {
  if (policy.cgroup !== undefined) joinCgroup(kernel, policy.cgroup);
  startSession(kernel);
  if (policy.net) openSockets(kernel, policy.net, channel);
  if (policy.mount) enterMounts(kernel, policy.mount);
  if (policy.uid !== undefined) becomeUser(kernel, policy.uid, policy.gid ?? policy.uid);
  dieWithAgent(kernel);
  // It may have died before.
  if (channel.isClosed()) throw new HoldfastError("failed", "sandbox: the agent is gone");
  // Also after the mounts: the folder that it was in is of the view before them.
  must(`enter ${policy.cwd}`, kernel.call("chdir", policy.cwd));
  if (policy.nice !== undefined) must("nice", kernel.call("setpriority", PRIO_PROCESS, 0, policy.nice));
  if (!policy.keepPrivileges) dropPrivileges(kernel);
  applyLimits(kernel, policy.rlimits);
  if (policy.learn) return announceListener(kernel, channel);
  if (policy.landlock) restrictPaths(kernel, policy.landlock);
  if (policy.seccomp) installFilter(kernel, filterOf(kernel, policy, policy.seccomp));
}

function filterOf(kernel: Kernel, { filter }: LaunchPolicy, seccomp: SeccompPolicy): Uint8Array {
  if (filter !== undefined) return Buffer.from(filter, "base64");
  return seccompFilter(seccomp, kernel.arch, process.pid);
}

function joinCgroup(kernel: Kernel, folder: string): void {
  const path = `${folder}/cgroup.procs`;
  const fd = must(`open ${path}`, kernel.call("openat", AT_FDCWD, path, O_WRONLY_CLOEXEC, 0));
  must(`join ${folder}`, kernel.call("write", fd, Buffer.from("0"), 1));
  kernel.call("close", fd);
}

/** So that a kill of the group reaches every process of it. EPERM: it leads its group already. */
function startSession(kernel: Kernel): void {
  kernel.call("setsid");
}

/** The agent takes the sockets by their numbers, then says `go`. */
function openSockets(kernel: Kernel, policy: NonNullable<LaunchPolicy["net"]>, channel: LaunchChannel): void {
  const sockets = enterNetwork(kernel, policy);
  channel.write({ kind: "sockets", ...sockets });
  const answer = channel.read("answer to the sockets") as { kind?: unknown } | null;
  if (answer?.kind !== "go") {
    throw new HoldfastError(
      "failed",
      `sandbox: the agent did not take the sockets: ${JSON.stringify(answer)}`,
    );
  }
  for (const { fd } of [...sockets.tcp, ...sockets.udp]) kernel.call("close", fd);
}

function report(channel: LaunchChannel | undefined, message: string): void {
  const told = message.startsWith("sandbox: ") ? message : `sandbox: ${message}`;
  try {
    if (!channel) throw new HoldfastError("failed", "no channel");
    channel.write({ kind: "failed", message: told });
  } catch {
    // Without a channel at least the worker's log says it.
    console.error(told);
  }
}
