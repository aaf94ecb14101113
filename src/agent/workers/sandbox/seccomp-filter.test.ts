import { describe, expect, test } from "bun:test";
import { HoldfastError } from "../../../core/errors.ts";
import { BpfProgram } from "./bpf.ts";
import { ALLOW, KILL, refusal } from "./filter-builder.ts";
import type { SeccompPolicy } from "./launch-policy.ts";
import { ALWAYS_REFUSED, REFUSED_WITHOUT_FILE_MODES } from "./refused-calls.ts";
import { noExecFilter, seccompFilter } from "./seccomp-filter.ts";
import { type Arch, type CallName, callNumber } from "./syscalls.ts";

const AUDIT = { x64: 0xc000003e, arm64: 0xc00000b7, i386: 0x40000003, arm: 0x40000028 };
const ARCHES: Arch[] = ["x64", "arm64"];
const PID = 4711;
const NARROW: SeccompPolicy = {
  fork: false,
  fileModes: false,
  sockets: "none",
  icmp: false,
  denyTruncate: false,
};
const WIDE: SeccompPolicy = { ...NARROW, fork: true, fileModes: true, sockets: "all" };

/** Runs classic BPF on one `struct seccomp_data`, as the kernel would. */
function execute(filter: Uint8Array, audit: number, call: number, args: (number | bigint)[]): number {
  const data = new DataView(new ArrayBuffer(64));
  data.setInt32(0, call, true);
  data.setUint32(4, audit, true);
  args.forEach((value, at) => data.setBigUint64(16 + 8 * at, BigInt.asUintN(64, BigInt(value)), true));
  const code = new DataView(filter.buffer);
  let accumulator = 0;
  for (let at = 0; ; at++) {
    if (at * 8 >= code.byteLength) throw new Error("ran off the end");
    const [op, ifTrue, ifFalse] = [
      code.getUint16(at * 8, true),
      code.getUint8(at * 8 + 2),
      code.getUint8(at * 8 + 3),
    ];
    const value = code.getUint32(at * 8 + 4, true);
    if (op === 0x06) return value;
    else if (op === 0x20) accumulator = data.getUint32(value, true);
    else if (op === 0x54) accumulator = (accumulator & value) >>> 0;
    else if (op === 0x15) at += accumulator === value ? ifTrue : ifFalse;
    else if (op === 0x35) at += accumulator >= value ? ifTrue : ifFalse;
    else if (op === 0x45) at += (accumulator & value) !== 0 ? ifTrue : ifFalse;
    else throw new Error(`unknown instruction ${op.toString(16)}`);
  }
}

const NAMES: [number, string][] = [
  [ALLOW, "allow"],
  [KILL, "kill"],
  ...(["EPERM", "EACCES", "ENOSYS", "EAGAIN", "EOPNOTSUPP"] as const).map((name): [number, string] => [
    refusal(name),
    name,
  ]),
];
const verdictName = (action: number) => NAMES.find(([value]) => value === action)?.[1] ?? action.toString(16);

function verdict(arch: Arch, policy: SeccompPolicy, name: CallName, args: (number | bigint)[] = []): string {
  const number = callNumber(name, arch);
  if (number === null) return "absent";
  return verdictName(execute(seccompFilter(policy, arch, PID), AUDIT[arch], number, args));
}

type Row = [CallName, (number | bigint)[], string];

const S_IFREG = 0x8000;
const S_IFIFO = 0x1000;
const S_IFCHR = 0x2000;
const S_IFBLK = 0x6000;
const S_IFSOCK = 0xc000;

const NARROW_ROWS: Row[] = [
  ["read", [0], "allow"],
  ["openat2", [], "allow"],
  ["truncate", [], "allow"],
  ["connect", [], "allow"],
  ["memfd_create", [], "allow"],
  ["clone3", [], "ENOSYS"],
  ["clone", [0x3d0f00], "allow"],
  ["clone", [17], "EAGAIN"],
  ["clone", [0x4111], "EAGAIN"],
  ["clone", [0x10000000 | 0x10000], "EPERM"],
  ["clone", [0x20000 | 17], "EPERM"],
  ["clone", [0x40000000 | 17], "EPERM"],
  ["fork", [], "EAGAIN"],
  ["vfork", [], "EAGAIN"],
  ["kill", [PID, 9], "allow"],
  ["kill", [0, 9], "allow"],
  ["kill", [PID + 1, 9], "EPERM"],
  ["kill", [-1, 9], "EPERM"],
  ["kill", [-PID, 9], "EPERM"],
  ["tkill", [PID, 9], "EPERM"],
  ["tgkill", [PID, PID + 3, 6], "allow"],
  ["tgkill", [1, 1, 6], "EPERM"],
  ["rt_sigqueueinfo", [PID], "allow"],
  ["rt_sigqueueinfo", [1], "EPERM"],
  ["rt_tgsigqueueinfo", [1], "EPERM"],
  ["prlimit64", [0, 7], "allow"],
  ["prlimit64", [PID, 7], "EPERM"],
  ["setpriority", [0, 0, 5], "allow"],
  ["setpriority", [0, 1, 5], "EPERM"],
  ["setpriority", [2, 0, 5], "EPERM"],
  ["ioprio_set", [1, 0, 5], "allow"],
  ["ioprio_set", [1, 7, 5], "EPERM"],
  ["prctl", [1, 9], "allow"],
  ["prctl", [1, 0], "EPERM"],
  ["prctl", [15], "allow"],
  ["ioctl", [0, 0x5401], "allow"],
  ["ioctl", [0, 0x5412], "EPERM"],
  ["ioctl", [0, 0x541c], "EPERM"],
  ["ioctl", [0, 0x8901], "EPERM"],
  ["ioctl", [0, 0x8902], "EPERM"],
  ["ioctl", [0, 0x40086602], "EPERM"],
  // The kernel looks at 32 bits only: what stands above them must not hide the command.
  ["ioctl", [0, 0xff_0000_5412n], "EPERM"],
  ["fcntl", [0, 4], "allow"],
  ["fcntl", [0, 8], "EPERM"],
  ["fcntl", [0, 10], "EPERM"],
  ["fcntl", [0, 15], "EPERM"],
  ["mknodat", [0, 0, S_IFREG], "allow"],
  ["mknodat", [0, 0, S_IFIFO], "EPERM"],
  ["mknod", [0, S_IFIFO], "EPERM"],
  ["socket", [2, 1, 0], "EACCES"],
  ["socket", [16, 3, 0], "EACCES"],
  ["socketpair", [1, 1], "allow"],
  ["socketpair", [1, 1 | 0x80800], "allow"],
  ["socketpair", [1, 5], "allow"],
  ["socketpair", [1, 2], "EACCES"],
  ["socketpair", [2, 1], "EACCES"],
  ["sendto", [3, 0, 0, 0], "allow"],
  ["sendto", [3, 0, 0, 0x20004000], "EOPNOTSUPP"],
  ["sendmsg", [3, 0, 0x20000000], "EOPNOTSUPP"],
  ["sendmmsg", [3, 0, 1, 0x20000000], "EOPNOTSUPP"],
  ["execve", [], "allow"],
  ["execveat", [], "allow"],
];

const WIDE_ROWS: Row[] = [
  ["clone", [17], "allow"],
  ["clone", [0x10000000 | 17], "EPERM"],
  ["fork", [], "allow"],
  ["vfork", [], "allow"],
  ["kill", [PID + 1, 9], "allow"],
  ["memfd_create", [], "ENOSYS"],
  ["prlimit64", [1], "EPERM"],
  ["mknodat", [0, 0, S_IFIFO | 0o644], "allow"],
  ["mknodat", [0, 0, 0o644], "allow"],
  ["mknodat", [0, 0, S_IFCHR], "EPERM"],
  ["mknodat", [0, 0, S_IFBLK], "EPERM"],
  ["mknodat", [0, 0, S_IFSOCK], "EPERM"],
  ["mknod", [0, S_IFCHR], "EPERM"],
  ["fcntl", [0, 8], "EPERM"],
  ["sendto", [3, 0, 0, 0x20000000], "EOPNOTSUPP"],
];

const TRUNCATE_ROWS: Row[] = [
  ["truncate", [], "EACCES"],
  ["openat2", [], "ENOSYS"],
  ["open", [0, 0], "allow"],
  ["open", [0, 0x200], "EACCES"],
  ["openat", [0, 0, 0x80000], "allow"],
  ["openat", [0, 0, 0x241], "allow"],
  ["openat", [0, 0, 0x242], "allow"],
  ["openat", [0, 0, 0x200], "EACCES"],
  ["openat", [0, 0, 0x80203], "EACCES"],
];

describe.each(ARCHES)("%s", (arch) => {
  const check = (policy: SeccompPolicy, rows: Row[]) => {
    for (const [name, args, expected] of rows) {
      const found = verdict(arch, policy, name, args);
      if (found !== "absent") expect(`${name} ${args} ${found}`).toBe(`${name} ${args} ${expected}`);
    }
  };
  test("without processes", () => check(NARROW, NARROW_ROWS));
  test("with everything that can be granted", () => check(WIDE, WIDE_ROWS));
  test("for a Landlock without truncate", () => check({ ...NARROW, denyTruncate: true }, TRUNCATE_ROWS));
  test("listening only", () =>
    check({ ...NARROW, sockets: "tcp", listenOnly: true }, [["connect", [], "EACCES"]]));

  test("what is never allowed is not allowed by the widest policy", () => {
    check(
      WIDE,
      ALWAYS_REFUSED.map((name): Row => [name, [], "EPERM"]),
    );
  });
  test("file modes", () => {
    check(
      NARROW,
      REFUSED_WITHOUT_FILE_MODES.map((name): Row => [name, [], "EPERM"]),
    );
    check(
      WIDE,
      REFUSED_WITHOUT_FILE_MODES.map((name): Row => [name, [], "allow"]),
    );
  });

  test("sockets", () => {
    const socket = (policy: Partial<SeccompPolicy>, ...args: number[]) =>
      verdict(arch, { ...NARROW, ...policy }, "socket", args);
    const kinds: [string, number[]][] = [
      ["tcp4", [2, 1, 0]],
      ["tcp6", [10, 1 | 0x80800, 6]],
      ["mptcp", [2, 1, 262]],
      ["sctp", [2, 1, 132]],
      ["udp4", [2, 2, 0]],
      ["udp6", [10, 2 | 0x800, 17]],
      ["udplite", [2, 2, 136]],
      ["ping4", [2, 2, 1]],
      ["ping6", [10, 2, 58]],
      ["raw", [2, 3, 1]],
      ["seqpacket", [2, 5, 132]],
      ["unix", [1, 1, 0]],
      ["unix datagram", [1, 2, 0]],
      ["route", [16, 3, 0]],
      ["netlink audit", [16, 3, 9]],
      ["packet", [17, 3, 0]],
      ["alg", [38, 5, 0]],
      ["vsock", [40, 1, 0]],
      ["xdp", [44, 3, 0]],
    ];
    const allowed = (policy: Partial<SeccompPolicy>) =>
      kinds.filter(([, args]) => socket(policy, ...args) === "allow").map(([name]) => name);
    expect(allowed({})).toEqual([]);
    expect(allowed({ icmp: true })).toEqual(["ping4", "ping6"]);
    expect(allowed({ sockets: "tcp" })).toEqual(["tcp4", "tcp6", "route"]);
    expect(allowed({ sockets: "all" })).toEqual(["tcp4", "tcp6", "udp4", "udp6", "route"]);
    expect(allowed({ sockets: "all", icmp: true })).toHaveLength(7);
    expect(socket({ sockets: "all" }, 1, 1, 0)).toBe("EACCES");
  });

  test("other conventions are killed, unknown calls are absent", () => {
    const filter = seccompFilter(WIDE, arch, PID);
    const run = (audit: number, call: number) => verdictName(execute(filter, audit, call, []));
    for (const audit of Object.values(AUDIT)) if (audit !== AUDIT[arch]) expect(run(audit, 0)).toBe("kill");
    expect(run(AUDIT.x64, 0x4000_0000 + 59)).toBe("kill");
    expect(run(AUDIT[arch], 470)).toBe("ENOSYS");
    expect(run(AUDIT[arch], 1000)).toBe("ENOSYS");
    expect(run(AUDIT[arch], 468)).toBe("allow");
  });

  test("the second filter refuses to execute, and nothing else", () => {
    const run = (name: CallName) =>
      verdictName(execute(noExecFilter(arch), AUDIT[arch], callNumber(name, arch)!, []));
    expect([run("execve"), run("execveat"), run("read"), run("clone")]).toEqual([
      "EACCES",
      "EACCES",
      "allow",
      "allow",
    ]);
  });
});

describe("the assembler", () => {
  test("jumps to labels", () => {
    const code = new BpfProgram().load(0).ifEqual(7, "end").return(1).label("end").return(2).assemble();
    expect(Buffer.from(code).toString("hex")).toBe(
      "2000000000000000" + "1500010007000000" + "0600000001000000" + "0600000002000000",
    );
    expect(execute(code, 0, 7, [])).toBe(2);
    expect(execute(code, 0, 8, [])).toBe(1);
  });
  test("refuses what cannot be encoded", () => {
    expect(() => new BpfProgram().ifEqual(1, "nowhere").assemble()).toThrow("no label nowhere");
    expect(() => new BpfProgram().label("a").label("a")).toThrow(HoldfastError);
    expect(() => new BpfProgram().label("back").load(0).ifEqual(1, "back").assemble()).toThrow("goes -2");
    const far = new BpfProgram().ifEqual(1, "far");
    for (let i = 0; i < 256; i++) far.load(0);
    expect(() => far.label("far").assemble()).toThrow("goes 256 instructions far");
    const long = new BpfProgram();
    for (let i = 0; i < 5000; i++) long.load(0);
    expect(() => long.assemble()).toThrow("too many");
  });
});
