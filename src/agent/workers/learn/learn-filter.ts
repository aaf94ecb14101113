import { ALLOW, FilterBuilder } from "../sandbox/filter-builder.ts";
import type { Arch, CallName } from "../sandbox/syscalls.ts";

/** The call waits until the listener has answered. */
const NOTIFY = 0x7fc00000;
/** A longer message without an address is no question to a name server, and no first datagram worth waiting for. */
const MAX_DATAGRAM = 1500;

/** Calls that name a file, a program or a place in the network. */
export const LEARNED_CALLS = [
  ...["open", "openat", "openat2", "creat", "truncate"],
  ...["execve", "execveat"],
  ...["mkdir", "mkdirat", "rmdir", "unlink", "unlinkat", "rename", "renameat", "renameat2"],
  ...["link", "linkat", "symlink", "symlinkat", "mknod", "mknodat"],
  ...["chmod", "fchmodat", "chown", "lchown", "fchownat", "utime", "utimes", "utimensat"],
  ...["socket", "connect", "bind", "sendmsg", "sendmmsg", "sendto"],
] as const satisfies CallName[];
export type LearnedCall = (typeof LEARNED_CALLS)[number];

/** Lets everything pass, after the listener has seen what says which permissions it needs. */
export function learnFilter(arch: Arch): Uint8Array<ArrayBuffer> {
  const filter = new FilterBuilder(arch);
  // Behind it files would be opened that nobody sees; programs fall back to the calls.
  filter.refuse(["io_uring_setup"], "ENOSYS");
  for (const name of LEARNED_CALLS.filter((call) => call !== "sendto")) {
    filter.on(name, (program) => program.return(NOTIFY));
  }
  filter.on("sendto", (program) => {
    program.loadArgument(4).ifEqual(0, undefined, "watched");
    program
      .loadArgument(2)
      .ifAtLeast(MAX_DATAGRAM + 1, undefined, "watched")
      .return(ALLOW);
    program.label("watched").return(NOTIFY);
  });
  return filter.assemble();
}
