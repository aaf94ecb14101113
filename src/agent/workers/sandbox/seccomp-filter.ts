import { ALLOW, FilterBuilder, refusal } from "./filter-builder.ts";
import type { SeccompPolicy } from "./launch-policy.ts";
import { ALWAYS_REFUSED, REFUSED_WITHOUT_FILE_MODES } from "./refused-calls.ts";
import { addSocketRules } from "./socket-filter.ts";
import { type Arch, FIRST_UNKNOWN_CALL } from "./syscalls.ts";

const CLONE_NEW_NAMESPACES = 0x7e020080;
const CLONE_THREAD = 0x10000;
const FILE_TYPE = 0xf000;
const [TYPE_NONE, TYPE_REGULAR, TYPE_FIFO] = [0, 0x8000, 0x1000];
const [F_SETOWN, F_SETSIG, F_SETOWN_EX] = [8, 10, 15];
/** Typing into the terminal, its selection, its line discipline; SIGIO to others; attributes and seals of files. */
const REFUSED_IOCTLS = [
  ...[0x5412, 0x541c, 0x5423],
  ...[0x8901, 0x8902],
  ...[0x40086602, 0x40046602, 0x401c5820, 0x40806685, 0x800c6613],
];
const PR_SET_PDEATHSIG = 1;
const SIGKILL = 9;
const O_TRUNC = 0x200;
const O_ACCMODE = 3;

/** The filter of a worker with this pid; the pid stays the same over execve. */
export function seccompFilter(policy: SeccompPolicy, arch: Arch, pid: number): Uint8Array<ArrayBuffer> {
  const filter = new FilterBuilder(arch);
  filter.refuse(ALWAYS_REFUSED, "EPERM");
  addProcessRules(filter, policy, pid);
  addFileRules(filter, policy);
  addSocketRules(filter, policy);
  // What a newer kernel brings is not known to be harmless.
  filter.program.ifAtLeast(FIRST_UNKNOWN_CALL, undefined, "known");
  filter.program.return(refusal("ENOSYS")).label("known");
  return filter.assemble();
}

/** For stage 2: nothing is executed any more. Added to the main filter, and needs no pid. */
export function noExecFilter(arch: Arch): Uint8Array<ArrayBuffer> {
  const filter = new FilterBuilder(arch);
  filter.refuse(["execve", "execveat"], "EACCES");
  return filter.assemble();
}

function addProcessRules(filter: FilterBuilder, policy: SeccompPolicy, pid: number): void {
  // Its flags are in memory, where a filter cannot read; libc falls back to clone.
  filter.refuse(["clone3"], "ENOSYS");
  filter.on("clone", (program) => {
    program.loadArgument(0).ifAnyBit(CLONE_NEW_NAMESPACES, "namespaces");
    if (!policy.fork) program.ifAnyBit(CLONE_THREAD, "thread").return(refusal("EAGAIN")).label("thread");
    program.return(ALLOW).label("namespaces").return(refusal("EPERM"));
  });
  if (!policy.fork) {
    filter.refuse(["fork", "vfork"], "EAGAIN");
    // Landlock keeps signals in only from ABI 6 on; who has no processes signals only itself.
    filter.only("kill", 0, [pid, 0], "EPERM");
    filter.refuse(["tkill"], "EPERM");
    for (const name of ["tgkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo"] as const) {
      filter.only(name, 0, [pid], "EPERM");
    }
  }
  // Files in memory belong to no folder: executing one would go past the list of programs. A plugin host without
  // processes executes nothing at all, and may have them.
  if (policy.fork) filter.refuse(["memfd_create"], "ENOSYS");
  filter.only("prlimit64", 0, [0], "EPERM");
  // `nice` and `ionice` of oneself.
  for (const [name, own] of [
    ["setpriority", 0],
    ["ioprio_set", 1],
  ] as const) {
    filter.on(name, (program) => {
      program.loadArgument(0).ifEqual(own, undefined, `${name} other`);
      program.loadArgument(1).ifEqual(0, undefined, `${name} other`);
      program.return(ALLOW).label(`${name} other`).return(refusal("EPERM"));
    });
  }
  // It must die with the agent: the signal that does it stays.
  filter.on("prctl", (program) => {
    program.loadArgument(0).ifEqual(PR_SET_PDEATHSIG, undefined, "other option");
    program.loadArgument(1).ifEqual(SIGKILL, "other option").return(refusal("EPERM"));
    program.label("other option").return(ALLOW);
  });
}

function addFileRules(filter: FilterBuilder, policy: SeccompPolicy): void {
  if (!policy.fileModes) filter.refuse(REFUSED_WITHOUT_FILE_MODES, "EPERM");
  const types = policy.fileModes ? [TYPE_NONE, TYPE_REGULAR, TYPE_FIFO] : [TYPE_NONE, TYPE_REGULAR];
  filter.only("mknod", 1, types, "EPERM", FILE_TYPE);
  filter.only("mknodat", 2, types, "EPERM", FILE_TYPE);
  filter.never("ioctl", 1, REFUSED_IOCTLS, "EPERM");
  filter.never("fcntl", 1, [F_SETOWN, F_SETSIG, F_SETOWN_EX], "EPERM");
  if (!policy.denyTruncate) return;
  filter.refuse(["truncate"], "EACCES");
  // Landlock asks what the descriptor may do afterwards: with O_RDONLY, and with the odd mode 3, that is no writing,
  // though O_TRUNC empties the file.
  const truncating = [O_TRUNC, O_TRUNC | O_ACCMODE];
  filter.never("open", 1, truncating, "EACCES", O_TRUNC | O_ACCMODE);
  filter.never("openat", 2, truncating, "EACCES", O_TRUNC | O_ACCMODE);
  // Its flags are in memory.
  filter.refuse(["openat2"], "ENOSYS");
}
