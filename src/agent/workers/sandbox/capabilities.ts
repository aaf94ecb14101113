import { ERRNO, type Kernel, must } from "./libc.ts";

const PR_SET_PDEATHSIG = 1;
const PR_CAPBSET_DROP = 24;
const PR_SET_NO_NEW_PRIVS = 38;
const PR_CAP_AMBIENT = 47;
const PR_CAP_AMBIENT_CLEAR_ALL = 4;
const SIGKILL = 9;
const CAPABILITY_VERSION_3 = 0x20080522;
const MAX_CAPABILITY = 63;

/** Becomes this user for good, in no other group. Other threads stay what they are: execve ends them. */
export function becomeUser(kernel: Kernel, uid: number, gid: number): void {
  must("setgroups", kernel.call("setgroups", 0, null));
  must("setresgid", kernel.call("setresgid", gid, gid, gid));
  must("setresuid", kernel.call("setresuid", uid, uid, uid));
}

/** It is killed when the agent's main thread ends. A change of user clears this. */
export function dieWithAgent(kernel: Kernel): void {
  must("parent death signal", kernel.call("prctl", PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0));
}

/** No capability now, none from any program that it executes. */
export function dropPrivileges(kernel: Kernel): void {
  must("no_new_privs", kernel.call("prctl", PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
  for (let capability = 0; capability <= MAX_CAPABILITY; capability++) {
    const result = kernel.call("prctl", PR_CAPBSET_DROP, capability, 0, 0, 0);
    // EINVAL: that was the last one. EPERM: it has no capabilities to start with, and no_new_privs keeps it so.
    if (result === -ERRNO.EINVAL || result === -ERRNO.EPERM) break;
    must("bounding set", result);
  }
  // EINVAL: a kernel before 4.3 has no ambient set.
  const ambient = kernel.call("prctl", PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
  if (ambient !== -ERRNO.EINVAL) must("ambient set", ambient);
  // struct __user_cap_header_struct { u32 version; int pid }, and two times { u32 effective, permitted, inheritable }
  const header = new Uint32Array([CAPABILITY_VERSION_3, 0]);
  must("capset", kernel.call("capset", header, new Uint32Array(6)));
}
