import { HoldfastError } from "../../../core/errors.ts";
import { type Kernel, must } from "./libc.ts";

const SET_MODE_FILTER = 1;
const FLAG_TSYNC = 1;
const INSTRUCTION_BYTES = 8;

/** Puts a filter on the calling thread; with `allThreads` on every thread of the process. Needs no_new_privs. */
export function installFilter(kernel: Kernel, filter: Uint8Array, allThreads = false): void {
  // struct sock_fprog { u16 length; struct sock_filter *filter }
  const program = new BigUint64Array([BigInt(filter.length / INSTRUCTION_BYTES), kernel.address(filter)]);
  const result = kernel.call("seccomp", SET_MODE_FILTER, allThreads ? FLAG_TSYNC : 0, program);
  must("seccomp filter", result);
  if (result > 0)
    throw new HoldfastError("failed", `sandbox: seccomp filter: thread ${result} did not take it`);
}
