import type { Arg, Attack, AttackHost } from "../attack.ts";
import { numberOf, raw, runMachineCode, sys } from "./kit.ts";
import { kernelAtLeast } from "./places.ts";

const level = "system calls" as const;
const AT_FDCWD = -100;
const NEW_USER = 0x1000_0000;
/** What the harness would otherwise have to clear away. */
const IPC_RMID = 0;
const X32 = 0x4000_0000;

const x64 = (host: AttackHost) => (host.arch === "x64" ? null : "x86-64 only");

/** One system call that opens a part of the kernel; harmless with these arguments when it is let through. */
function opens(
  call: string,
  title: string,
  off: Attack["off"],
  args: Arg[],
  more: Partial<Attack> = {},
): Attack {
  return {
    id: `kernel.${call.replaceAll("_", "-")}`,
    title,
    level,
    proof: "said",
    off,
    calls: [{ call, args }],
    ...more,
  };
}

/** Parts of the kernel that a worker has no business with. */
export const KERNEL: Attack[] = [
  opens("unshare", "a user namespace of its own", "succeeds", [NEW_USER], {
    own: true,
    optional: true,
    code: { sh: `unshare --user true` },
    // A program with threads gets no user namespace, but the kernel looked at what it asked for.
    reached: ["EINVAL"],
  }),
  opens("clone", "a process in a new user namespace", "succeeds", [NEW_USER | 17, 0, 0, 0, 0], {
    own: true,
    // Both processes come back from it, which a plugin host does not survive in good order.
    calls: undefined,
    optional: true,
    code: {
      py: `
child = sys("clone", 0x10000000 | 17, 0, 0, 0, 0)
if child == 0:
    os._exit(0)
os.waitpid(child, 0)
return "process %d" % child`,
    },
  }),
  opens("clone3", "a process in a new user namespace by clone3", "succeeds", [], {
    own: true,
    calls: undefined,
    optional: true,
    code: {
      py: `
child = sys("clone3", at(struct.pack("<8Q", 0x10000000, 0, 0, 0, 17, 0, 0, 0)), 64)
if child == 0:
    os._exit(0)
os.waitpid(child, 0)
return "process %d" % child`,
    },
  }),
  opens("unshare-mount", "a mount namespace of its own", "succeeds as root", [], {
    own: true,
    calls: [{ call: "unshare", args: [0x0002_0000] }],
    optional: true,
  }),
  opens("mount", "mount a file system", "succeeds as root", ["none", "$folder/empty", "tmpfs", 0, 0]),
  opens("umount2", "unmount", "succeeds as root", ["$folder/empty", 0], { reached: ["EINVAL"] }),
  opens("pivot_root", "change the root mount", "succeeds as root", ["$folder", "$folder"], {
    reached: ["EINVAL", "EBUSY"],
  }),
  opens("chroot", "change the root folder", "succeeds as root", ["$folder"], { own: true }),
  opens("open_tree", "copy a mount", "succeeds as root", [AT_FDCWD, "$folder", 1]),
  opens("fsopen", "make a file system", "succeeds as root", ["tmpfs", 0]),
  opens("mount_setattr", "change a mount", "succeeds as root", [AT_FDCWD, "$folder", 0, { zero: 32 }, 32], {
    needs: (host) =>
      kernelAtLeast(host.read("/proc/sys/kernel/osrelease"), 5, 12) ? null : "came with Linux 5.12",
    reached: ["EINVAL"],
  }),
  opens("setns", "enter a namespace", "succeeds as root", [{ result: 0 }, 0], {
    own: true,
    calls: [
      { call: "openat", args: [AT_FDCWD, "/proc/self/ns/uts", 0, 0] },
      { call: "setns", args: [{ result: 0 }, 0] },
    ],
  }),
  // BPF_MAP_CREATE: an array of one.
  opens("bpf", "make a BPF map", "succeeds as root", [0, { u32: [2, 4, 4, 1, 0, 0, 0, 0, 0, 0, 0, 0] }, 48], {
    optional: true,
  }),
  // PERF_TYPE_SOFTWARE, task clock, user only.
  opens("perf_event_open", "count events", "succeeds", [PERF(), 0, -1, -1, 0], { optional: true }),
  opens("io_uring_setup", "system calls by a ring", "succeeds", [4, { zero: 120 }], { optional: true }),
  opens("userfaultfd", "handle page faults", "succeeds", [1], { optional: true }),
  opens("add_key", "add a key", "succeeds", ["user", "holdfast-escape", { text: "x" }, 1, -2], {
    optional: true,
  }),
  opens("keyctl", "look at its keys", "succeeds", [0, -2, 1], { optional: true }),
  opens("request_key", "ask for a key", "succeeds", ["user", "holdfast-escape-none", 0, 0], {
    optional: true,
    reached: ["errno 126"],
  }),
  opens("kexec_load", "load another kernel", "succeeds as root", [0, 0, 0, 0], {
    optional: true,
  }),
  opens("finit_module", "load a module", "succeeds as root", [{ result: 0 }, "", 0], {
    calls: [
      { call: "openat", args: [AT_FDCWD, "$own", 0, 0] },
      { call: "finit_module", args: [{ result: 0 }, "", 0] },
    ],
    optional: true,
    reached: ["ENOEXEC", "EINVAL", "errno 21"],
  }),
  // Bad magic: reached the kernel, and does nothing.
  opens("reboot", "reboot", "succeeds as root", [0, 0, 0, 0], { reached: ["EINVAL"] }),
  opens("swapon", "use a file for swap", "succeeds as root", ["$own/none", 0], {
    reached: ["ENOENT"],
    optional: true,
  }),
  opens("acct", "account to a file", "succeeds as root", ["$folder/none"], {
    reached: ["ENOENT"],
    optional: true,
  }),
  opens("settimeofday", "set the clock", "succeeds as root", [0, 0]),
  opens("sethostname", "set the host's name", "succeeds as root", ["$hostname", -1], { reached: ["EINVAL"] }),
  opens("setdomainname", "set the domain's name", "succeeds as root", ["x", -1], { reached: ["EINVAL"] }),
  opens("syslog", "read the kernel's log", "succeeds as root", [2, 0, 0], { reached: ["EINVAL"] }),
  opens("iopl", "input and output ports", "succeeds as root", [0], { off: "succeeds", optional: true }),
  opens("modify_ldt", "segments of its own", "succeeds", [0, { zero: 64 }, 64], { optional: true }),
  // FAN_REPORT_FID: what users without rights may ask for.
  opens("fanotify_init", "watch the file system", "succeeds", [0x200, 0], { optional: true }),
  opens("shmget", "shared memory that outlives it", "succeeds", [], {
    optional: true,
    calls: [
      { call: "shmget", args: [0, 4096, 0o600] },
      { call: "shmctl", args: [{ result: 0 }, IPC_RMID, 0] },
    ],
  }),
  opens("semget", "semaphores that outlive it", "succeeds", [], {
    optional: true,
    calls: [
      { call: "semget", args: [0, 1, 0o600] },
      { call: "semctl", args: [{ result: 0 }, 0, IPC_RMID] },
    ],
  }),
  opens("msgget", "message queues that outlive it", "succeeds", [], {
    optional: true,
    calls: [
      { call: "msgget", args: [0, 0o600] },
      { call: "msgctl", args: [{ result: 0 }, IPC_RMID, 0] },
    ],
  }),
  opens("mq_open", "a POSIX message queue", "succeeds", [], {
    optional: true,
    calls: [
      { call: "mq_open", args: ["holdfast-escape", 0o100, 0o600, 0] },
      { call: "mq_unlink", args: ["holdfast-escape"] },
    ],
  }),
  // Linux as it was: no random addresses (ADDR_NO_RANDOMIZE).
  opens("personality", "take another personality", "succeeds", [0x004_0000], { own: true }),
  opens("mbind", "place memory", "succeeds", [0, 0, 0, 0, 0, 0], { optional: true }),
  opens("set_mempolicy", "set a memory policy", "succeeds", [0, 0, 0], { optional: true }),
  opens(
    "migrate_pages",
    "move another process's pages",
    "succeeds",
    [{ of: "victim" }, 64, { u64: [1] }, { u64: [1] }],
    {
      optional: true,
    },
  ),
  opens("memfd_secret", "memory that the kernel cannot see", "succeeds", [0], { optional: true }),
  opens("mknod", "make a device file in its own folder", "succeeds as root", [], {
    calls: [{ call: "mknodat", args: [AT_FDCWD, "$own/$id", 0o60666, 0x0801] }],
  }),
  opens("mknod-null", "make a device file that anybody may make", "succeeds as root", [], {
    calls: [{ call: "mknodat", args: [AT_FDCWD, "$own/null-$id", 0o20666, 0x0103] }],
  }),
  {
    id: "kernel.x32",
    title: "system calls of the x32 interface",
    level,
    proof: "said",
    own: true,
    off: "succeeds",
    needs: x64,
    optional: true,
    code: {
      ts: () => {
        const pid = raw(X32 + numberOf("getpid"));
        if (pid !== process.pid) throw new Error(`errno ${-pid}`);
        return `pid ${pid}`;
      },
      py: `
assert raw(0x40000000 + 39) == os.getpid()
return "pid"`,
    },
  },
  {
    id: "kernel.int80",
    title: "system calls of 32-bit programs",
    level,
    proof: "said",
    own: true,
    off: "succeeds",
    needs: x64,
    optional: true,
    // mov eax, 20 (getpid); int 0x80; ret
    code: {
      ts: () => {
        const pid = runMachineCode("b814000000cd80c3");
        if (pid !== process.pid) throw new Error(`errno ${-pid}`);
        return `pid ${pid}`;
      },
      py: `
assert run_machine_code("b814000000cd80c3") == os.getpid()
return "pid"`,
    },
  },
];

/** struct perf_event_attr of 112 bytes. */
function PERF(): Arg {
  const attr = Buffer.alloc(112);
  attr.writeUInt32LE(1, 0);
  attr.writeUInt32LE(112, 4);
  attr.writeBigUInt64LE(1n, 8);
  // disabled, exclude_kernel, exclude_hv
  attr.writeUInt32LE(1 | (1 << 5) | (1 << 6), 40);
  return { hex: attr.toString("hex") };
}

/** Limits of its own, and its own right to raise them. */
export const OWN_LIMITS: Attack[] = [
  {
    id: "limits.raise",
    title: "raise its own hard limit",
    level: "system calls",
    proof: "said",
    // Root in a container may lack CAP_SYS_RESOURCE.
    optional: true,
    own: true,
    off: "succeeds as root",
    calls: [
      { call: "prlimit64", args: [0, 7, { u64: [64, 64] }, 0] },
      { call: "prlimit64", args: [0, 7, { u64: [100_000, 100_000] }, 0] },
    ],
    code: { sh: `ulimit -H -n 64 && ulimit -H -n 100000` },
  },
  {
    id: "limits.priority",
    title: "raise its own priority",
    level: "system calls",
    proof: "said",
    own: true,
    off: "succeeds as root",
    code: {
      ts: () => `result ${sys("setpriority", 0, 0, -5)}`,
      py: `return sys("setpriority", 0, 0, -5)`,
    },
  },
];
