import type { LaunchPolicy } from "./launch-policy.ts";
import { errnoName, type Kernel } from "./libc.ts";
import { HoldfastError } from "../../../core/errors.ts";
import { applyDataLimit } from "./rlimits.ts";

const CLOSE_RANGE_CLOEXEC = 4;
const MAX_FD = 0xffffffff;
const F_SETFD = 2;
const FD_CLOEXEC = 1;
/** Highest descriptor that is looked at where there is no close_range for it (before Linux 5.11). */
const MANY_FDS = 4096;
const SIG_SETMASK = 2;
const LAST_SIGNAL = 64;
const SIGSET_BYTES = 8;
/** struct sigaction of the kernel: handler, flags, restorer (x64), mask. All zero: the default. */
const SIGACTION_BYTES = 32;

/** Becomes the worker's program. Returns only by throwing. */
export function becomeProgram(kernel: Kernel, policy: LaunchPolicy): never {
  const path = kernel.address(policy.program);
  const argv = stringVector(kernel, policy.argv);
  const environment = stringVector(
    kernel,
    Object.entries(policy.env).map(([name, value]) => `${name}=${value}`),
  );
  closeOthers(kernel, policy.keepFds);
  resetSignals(kernel);
  applyDataLimit(kernel, policy.rlimits);
  const result = kernel.call("execve", path, argv, environment);
  throw new HoldfastError("failed", `sandbox: execute ${policy.program}: ${errnoName(result)}`);
}

function stringVector(kernel: Kernel, texts: string[]): bigint {
  return kernel.address(new BigUint64Array([...texts.map((text) => kernel.address(text)), 0n]));
}

/** What is kept may have been marked by whoever started us, or by the runtime. */
function closeOthers(kernel: Kernel, from: number): void {
  for (let fd = 0; fd < from; fd++) kernel.call("fcntl", fd, F_SETFD, 0);
  if (kernel.call("close_range", from, MAX_FD, CLOSE_RANGE_CLOEXEC) === 0) return;
  for (let fd = from; fd < MANY_FDS; fd++) kernel.call("fcntl", fd, F_SETFD, FD_CLOEXEC);
}

/** Ignored signals stay ignored over execve, and so does the mask: the runtime of stage 1 has changed both. */
function resetSignals(kernel: Kernel): void {
  const byDefault = kernel.address(new Uint8Array(SIGACTION_BYTES));
  for (let signal = 1; signal <= LAST_SIGNAL; signal++) {
    kernel.call("rt_sigaction", signal, byDefault, null, SIGSET_BYTES);
  }
  kernel.call("rt_sigprocmask", SIG_SETMASK, new Uint8Array(SIGSET_BYTES), null, SIGSET_BYTES);
}
