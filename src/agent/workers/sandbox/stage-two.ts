import { openKernel } from "./libc.ts";
import { installFilter } from "./seccomp.ts";
import { noExecFilter } from "./seccomp-filter.ts";

/**
 * The plugin host calls this before it loads a plugin whose grant names no program: from then on no thread of it can execute
 * anything. Landlock alone cannot say so, since the loader and the executable had to be executable to get here. Needs the
 * no_new_privs of stage 1.
 */
export function denyExec(): void {
  const kernel = openKernel();
  installFilter(kernel, noExecFilter(kernel.arch), true);
}
