import { openSync, readdirSync, readFileSync, readlinkSync, readSync } from "node:fs";
import type { Attack, AttackHost } from "../attack.ts";

const level = "filesystem" as const;
const AT_FDCWD = -100;
const noDevice = (host: AttackHost) =>
  host.has("/sys/class/block") && host.read("/proc/partitions") !== "" ? null : "no block device here";

/** Reading the agent through /proc, and what only root may read. */
export const READ_HOST: Attack[] = [
  {
    id: "read.proc-parent-root",
    title: "read a file through the agent's /proc/<pid>/root",
    level,
    proof: "secret",
    off: "succeeds",
    code: {
      ts: (t) => readFileSync(`/proc/${t.parent}/root${t.file}`, "utf8"),
      sh: `cat "/proc/$parent/root$file"`,
      py: `return open(f"/proc/{t.parent}/root{t.file}").read()`,
    },
  },
  {
    id: "read.proc-parent-environ",
    title: "read the agent's environment",
    level,
    proof: "said",
    off: "succeeds",
    code: {
      ts: (t) => {
        const environment = readFileSync(`/proc/${t.parent}/environ`, "utf8");
        if (!environment.includes("=")) throw new Error("it is empty");
        return "environment";
      },
      sh: `tr '\\0' '\\n' < "/proc/$parent/environ" | grep -q =`,
      py: `
assert "=" in open(f"/proc/{t.parent}/environ").read()
return "environment"`,
    },
  },
  {
    id: "read.proc-parent-mem",
    title: "read another process's memory through /proc",
    level,
    proof: "said",
    off: "succeeds",
    code: {
      ts: (t) => {
        const fd = openSync(`/proc/${t.victim}/mem`, "r");
        return `${readSync(fd, Buffer.alloc(8), 0, 8, t.victimMemory)} bytes`;
      },
      py: `return os.pread(os.open(f"/proc/{t.victim}/mem", os.O_RDONLY), 8, t.victimMemory)`,
    },
  },
  {
    id: "read.proc-parent-fds",
    title: "list the agent's open files",
    level,
    proof: "said",
    off: "succeeds",
    code: {
      ts: (t) => {
        const fd = readdirSync(`/proc/${t.parent}/fd`)[0]!;
        return readlinkSync(`/proc/${t.parent}/fd/${fd}`);
      },
      sh: `ls "/proc/$parent/fd" | grep -q .`,
      py: `return os.listdir(f"/proc/{t.parent}/fd")[0]`,
    },
  },
  {
    id: "read.block-device",
    title: "read the disk under the file system",
    level,
    proof: "said",
    off: "succeeds as root",
    optional: true,
    needs: noDevice,
    code: {
      ts: (t) => `${readSync(openSync(t.device, "r"), Buffer.alloc(512), 0, 512, 0)} bytes`,
      sh: `head -c 512 "$device" | wc -c | grep -q 512`,
      py: `return len(open(t.device, "rb").read(512))`,
    },
  },
  {
    id: "read.shadow",
    title: "read /etc/shadow",
    level,
    proof: "said",
    off: "succeeds as root",
    code: {
      ts: () => `${readFileSync("/etc/shadow").length} bytes`,
      sh: `cat /etc/shadow | grep -q root`,
      py: `return len(open("/etc/shadow").read())`,
    },
  },
  {
    id: "read.by-handle",
    title: "open a file by its handle, past every folder",
    level: "system calls",
    proof: "said",
    off: "succeeds as root",
    calls: [
      { call: "openat", args: [AT_FDCWD, "$folder", 0, 0] },
      // struct file_handle { u32 bytes; i32 type; u8 handle[] }: room for 128, filled by the first, read by the second.
      { call: "openat", args: [AT_FDCWD, "$own", 0, 0] },
      {
        call: "open_by_handle_at",
        args: [{ result: 1 }, { hex: `0800000001000000${"02000000".repeat(2)}` }, 0],
      },
    ],
    // Reached the file system, which does not know this handle.
    reached: ["ESTALE", "errno 116", "EINVAL"],
  },
  {
    id: "read.name-to-handle",
    title: "ask for a file's handle",
    level: "system calls",
    proof: "said",
    off: "succeeds",
    calls: [
      {
        call: "name_to_handle_at",
        args: [AT_FDCWD, "$file", { hex: `80000000${"00".repeat(132)}` }, { zero: 4 }, 0],
      },
    ],
  },
];
