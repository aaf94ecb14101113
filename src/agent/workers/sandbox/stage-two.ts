import { openKernel } from "./libc.ts";
import { installFilter } from "./seccomp.ts";
import { noExecFilter } from "./seccomp-filter.ts";

/** Set in a plugin host's environment whose grant names no program. */
export const NO_EXEC_VARIABLE = "HOLDFAST_NO_EXEC";

/**
 * The plugin host calls this before it loads the plugin: from then on no thread of it can execute anything. Landlock alone
 * cannot say so, since the loader and the executable had to be executable to get here. Needs the no_new_privs of stage 1.
 */
export function denyExec(): void {
  const kernel = openKernel();
  installFilter(kernel, noExecFilter(kernel.arch), true);
}
