import type { LaunchPolicy, RlimitName } from "./launch-policy.ts";
import { type Kernel, must } from "./libc.ts";

/** Resource numbers of Linux on x64 and arm64. */
const RESOURCES: Record<RlimitName, number> = { CPU: 0, FSIZE: 1, DATA: 2, CORE: 4, NPROC: 6, NOFILE: 7 };
const CPU_GRACE_SECONDS = 1;

type Limits = LaunchPolicy["rlimits"];

/** All but DATA, which would hit stage 1 itself: it has far more reserved than any worker may. */
export function applyLimits(kernel: Kernel, limits: Limits): void {
  for (const [name, value] of Object.entries(limits) as [RlimitName, number][]) {
    if (name !== "DATA") setLimit(kernel, name, value);
  }
}

/** The last thing before the program is executed: no memory may be asked for after it. */
export function applyDataLimit(kernel: Kernel, limits: Limits): void {
  if (limits.DATA !== undefined) setLimit(kernel, "DATA", limits.DATA);
}

function setLimit(kernel: Kernel, name: RlimitName, value: number): void {
  // SIGXCPU at the first, which says what happened; SIGKILL at the second.
  const hard = name === "CPU" ? value + CPU_GRACE_SECONDS : value;
  const pair = new BigUint64Array([BigInt(value), BigInt(hard)]);
  // One that is lower already stays: without capabilities it could not be raised, and it is narrower than asked.
  const old = new BigUint64Array(2);
  must(`limit ${name}`, kernel.call("prlimit64", 0, RESOURCES[name], null, old));
  if (old[1]! < pair[1]!) pair[1] = old[1]!;
  if (pair[0]! > pair[1]!) pair[0] = pair[1]!;
  must(`limit ${name}`, kernel.call("prlimit64", 0, RESOURCES[name], pair, null));
}
