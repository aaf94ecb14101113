import { HoldfastError } from "../../../core/errors.ts";
import type { LaunchChannel } from "../sandbox/launch-channel.ts";
import { ERRNO, errnoName, type Kernel } from "../sandbox/libc.ts";
import { learnFilter } from "./learn-filter.ts";

const SET_MODE_FILTER = 1;
const FLAG_NEW_LISTENER = 8;
/** Since Linux 5.19: a waiting call is not begun again for each signal. */
const FLAG_WAIT_KILLABLE = 32;
const INSTRUCTION_BYTES = 8;

/**
 * In stage 1, instead of everything that refuses: from here on the calls of this process, and of what it becomes and starts,
 * wait for the agent to have seen them. The agent takes the listener by its number and says `go`.
 */
export function announceListener(kernel: Kernel, channel: LaunchChannel): void {
  const fd = installListener(kernel);
  channel.write({ kind: "listener", fd });
  const answer = channel.read("answer to the listener") as { kind?: unknown } | null;
  if (answer?.kind !== "go") {
    throw new HoldfastError("failed", `sandbox: the agent did not take the listener`);
  }
  kernel.call("close", fd);
}

function installListener(kernel: Kernel): number {
  const filter = learnFilter(kernel.arch);
  // struct sock_fprog { u16 length; struct sock_filter *filter }
  const program = new BigUint64Array([BigInt(filter.length / INSTRUCTION_BYTES), kernel.address(filter)]);
  const install = (flags: number) => kernel.call("seccomp", SET_MODE_FILTER, flags, program);
  let fd = install(FLAG_NEW_LISTENER | FLAG_WAIT_KILLABLE);
  if (fd === -ERRNO.EINVAL) fd = install(FLAG_NEW_LISTENER);
  if (fd >= 0) return fd;
  throw new HoldfastError("failed", `sandbox: this host cannot learn: ${whyNoListener(fd)}`);
}

function whyNoListener(error: number): string {
  if (error === -ERRNO.EINVAL) return "its kernel tells nobody of system calls; Linux 5.5 does";
  if (error === -ERRNO.EBUSY) return "somebody else (a container runtime?) is already told of system calls";
  return `seccomp user notification: ${errnoName(error)}`;
}
