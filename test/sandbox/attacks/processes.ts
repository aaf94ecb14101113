import type { Arg, Attack } from "../attack.ts";
import { at, sys, text } from "./kit.ts";

const level = "system calls" as const;
const victim: Arg = { of: "victim" };
const parent: Arg = { of: "parent" };
const memory: Arg = { of: "victimMemory" };
const SIGKILL = 9;
const F_SETFL = 4;
const F_SETOWN = 8;
const F_SETSIG = 10;
const O_ASYNC = 0o20000;
/** siginfo_t with si_code SI_QUEUE (-1). */
const SIGINFO: Arg = { hex: `0900000000000000ffffffff${"00".repeat(116)}` };
/** The victim's pidfd is the result of the first call. */
const byPidfd = (call: string, ...args: Arg[]): Attack["calls"] => [
  { call: "pidfd_open", args: [victim, 0] },
  { call, args: [{ result: 0 }, ...args] },
];

/** Reaching other processes: a victim of the harness, and the harness itself where that does it no harm. */
export const PROCESSES: Attack[] = [
  {
    id: "signal.kill",
    title: "kill another process",
    level,
    proof: "victim",
    off: "succeeds",
    calls: [{ call: "kill", args: [victim, SIGKILL] }],
    code: { ts: (t) => process.kill(t.victim, "SIGKILL"), sh: `kill -9 "$victim"` },
  },
  {
    id: "signal.agent",
    title: "signal the agent",
    level,
    proof: "said",
    off: "succeeds",
    calls: [{ call: "kill", args: [parent, 0] }],
    code: { sh: `kill -0 "$parent"` },
  },
  {
    id: "signal.group",
    title: "kill another process group",
    level,
    proof: "victim",
    off: "succeeds",
    code: {
      ts: (t) => process.kill(-t.victim, "SIGKILL"),
      sh: `kill -s KILL -- "-$victim"`,
      py: `os.killpg(t.victim, 9)`,
    },
  },
  {
    id: "signal.tgkill",
    title: "tgkill another process",
    level,
    proof: "victim",
    off: "succeeds",
    calls: [{ call: "tgkill", args: [victim, victim, SIGKILL] }],
  },
  {
    id: "signal.tkill",
    title: "tkill another process",
    level,
    proof: "victim",
    off: "succeeds",
    calls: [{ call: "tkill", args: [victim, SIGKILL] }],
  },
  {
    id: "signal.queue",
    title: "rt_sigqueueinfo to another process",
    level,
    proof: "victim",
    off: "succeeds",
    calls: [{ call: "rt_sigqueueinfo", args: [victim, SIGKILL, SIGINFO] }],
  },
  {
    id: "signal.queue-thread",
    title: "rt_tgsigqueueinfo to another process",
    level,
    proof: "victim",
    off: "succeeds",
    calls: [{ call: "rt_tgsigqueueinfo", args: [victim, victim, SIGKILL, SIGINFO] }],
  },
  {
    id: "signal.pidfd",
    title: "kill another process by its pidfd",
    level,
    proof: "victim",
    off: "succeeds",
    calls: byPidfd("pidfd_send_signal", SIGKILL, 0, 0),
  },
  {
    id: "signal.set-owner",
    title: "let the kernel send the signal (F_SETOWN, F_SETSIG)",
    level,
    proof: "victim",
    off: "succeeds",
    code: {
      ts: (t) => {
        const pair = new Uint32Array(2);
        sys("socketpair", 1, 1, 0, at(pair));
        sys("fcntl", pair[0]!, F_SETOWN, t.victim);
        sys("fcntl", pair[0]!, F_SETSIG, SIGKILL);
        sys("fcntl", pair[0]!, F_SETFL, O_ASYNC);
        sys("write", pair[1]!, text("x"), 1);
      },
      py: `
import fcntl, socket
left, right = socket.socketpair()
fcntl.fcntl(left, fcntl.F_SETOWN, t.victim)
fcntl.fcntl(left, 10, 9)
fcntl.fcntl(left, fcntl.F_SETFL, 0o20000)
right.send(b"x")`,
    },
  },
  {
    id: "process.ptrace",
    title: "ptrace another process",
    level,
    proof: "said",
    own: true,
    off: "succeeds",
    // PTRACE_SEIZE: attaches without stopping it.
    calls: [{ call: "ptrace", args: [0x4206, victim, 0, 0] }],
  },
  {
    id: "process.read-memory",
    title: "process_vm_readv",
    level,
    proof: "said",
    off: "succeeds",
    calls: [
      {
        call: "process_vm_readv",
        args: [victim, { u64: [{ zero: 8 }, 8] }, 1, { u64: [memory, 8] }, 1, 0],
      },
    ],
  },
  {
    id: "process.write-memory",
    title: "process_vm_writev",
    level,
    proof: "said",
    off: "succeeds",
    calls: [
      {
        call: "process_vm_writev",
        args: [victim, { u64: [{ zero: 8 }, 8] }, 1, { u64: [memory, 8] }, 1, 0],
      },
    ],
  },
  {
    id: "process.prlimit",
    title: "change another process's limits",
    level,
    proof: "victim",
    off: "succeeds",
    calls: [{ call: "prlimit64", args: [victim, 7, { u64: [17, 17] }, 0] }],
    code: { sh: `prlimit --pid "$victim" --nofile=17:17` },
  },
  {
    id: "process.priority",
    title: "change another process's priority",
    level,
    proof: "victim",
    off: "succeeds",
    calls: [{ call: "setpriority", args: [0, victim, 11] }],
    code: { sh: `renice -n 11 -p "$victim"` },
  },
  {
    id: "process.scheduler",
    title: "change another process's scheduling",
    level,
    proof: "victim",
    off: "succeeds",
    // SCHED_IDLE
    calls: [{ call: "sched_setscheduler", args: [victim, 5, { u32: [0] }] }],
  },
  {
    id: "process.affinity",
    title: "change another process's processors",
    level,
    proof: "victim",
    off: "succeeds",
    needs: (host) => (host.has("/sys/devices/system/cpu/cpu1") ? null : "one processor only"),
    calls: [{ call: "sched_setaffinity", args: [victim, 8, { u64: [1] }] }],
    code: { sh: `taskset -p 1 "$victim"` },
  },
  {
    id: "process.io-priority",
    title: "change another process's input and output priority",
    level,
    proof: "said",
    off: "succeeds",
    calls: [{ call: "ioprio_set", args: [1, victim, (2 << 13) | 7] }],
  },
  {
    id: "process.compare",
    title: "kcmp with another process",
    level,
    proof: "said",
    off: "succeeds",
    optional: true,
    calls: [{ call: "kcmp", args: [{ self: "pid" }, victim, 1, 0, 0] }],
  },
  {
    id: "process.pidfd",
    title: "a pidfd of the agent",
    level,
    proof: "said",
    off: "succeeds",
    calls: [{ call: "pidfd_open", args: [parent, 0] }],
  },
  {
    id: "process.take-descriptor",
    title: "take another process's descriptor",
    level,
    proof: "said",
    off: "succeeds",
    calls: byPidfd("pidfd_getfd", 0, 0),
  },
  {
    id: "process.madvise",
    title: "process_madvise on another process",
    level,
    proof: "said",
    off: "succeeds as root",
    // MADV_COLD
    calls: byPidfd("process_madvise", { u64: [memory, 4096] }, 1, 20, 0),
    reached: ["EINVAL"],
  },
  {
    id: "process.move-pages",
    title: "move_pages of another process",
    level,
    proof: "said",
    off: "succeeds",
    optional: true,
    calls: [{ call: "move_pages", args: [victim, 0, 0, 0, 0, 0] }],
  },
  {
    id: "process.namespace",
    title: "enter the agent's namespaces by its pidfd",
    level,
    proof: "said",
    own: true,
    off: "succeeds as root",
    calls: byPidfd("setns", 0x0400_0000),
  },
];
