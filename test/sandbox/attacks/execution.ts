import { spawnSync } from "node:child_process";
import { chmodSync, readFileSync, writeFileSync } from "node:fs";
import type { Attack, Target } from "../attack.ts";
import { at, numberOf, raw, sys, text, vector } from "./kit.ts";

const level = "system calls" as const;
const AT_EMPTY_PATH = 0x1000;

/** The smallest ELF program: it exits with 42. */
function exits42(): Buffer {
  const code =
    process.arch === "arm64"
      ? Buffer.from("400580d2a80b80d2010000d4", "hex")
      : Buffer.from("bf2a000000b83c0000000f05", "hex");
  const header = Buffer.alloc(120);
  header.write("7f454c46020101", 0, "hex");
  header.writeUInt16LE(2, 16);
  header.writeUInt16LE(process.arch === "arm64" ? 183 : 62, 18);
  header.writeUInt32LE(1, 20);
  header.writeBigUInt64LE(0x400078n, 24);
  header.writeBigUInt64LE(64n, 32);
  header.writeUInt16LE(64, 52);
  header.writeUInt16LE(56, 54);
  header.writeUInt16LE(1, 56);
  header.writeUInt32LE(1, 64);
  header.writeUInt32LE(5, 68);
  header.writeBigUInt64LE(0x400000n, 80);
  header.writeBigUInt64LE(0x400000n, 88);
  header.writeBigUInt64LE(BigInt(120 + code.length), 96);
  header.writeBigUInt64LE(BigInt(120 + code.length), 104);
  header.writeBigUInt64LE(4096n, 112);
  return Buffer.concat([header, code]);
}

function execute(path: string, args: string[], env: string[] = []): never {
  sys("execve", text(path), vector(args), vector(env));
  throw new Error("execve came back");
}

function loader(): string {
  const line = readFileSync("/proc/self/maps", "utf8")
    .split("\n")
    .find((item) => /\/ld[-.]/.test(item));
  if (line === undefined) throw new Error("no loader in /proc/self/maps");
  return line.slice(line.indexOf("/"));
}

/** Starting programs. The worker's grant names none for a plugin host, and the host's own programs for a script. */
export const EXECUTION: Attack[] = [
  {
    id: "exec.spawn",
    title: "Bun.spawn",
    level,
    proof: "said",
    off: "succeeds",
    code: { ts: () => spawned(Bun.spawnSync(["/bin/sh", "-c", "exit 42"]).exitCode) },
  },
  {
    id: "exec.shell",
    title: "Bun.$",
    level,
    proof: "said",
    off: "succeeds",
    code: { ts: async () => spawned((await Bun.$`/bin/sh -c "exit 42"`.quiet().nothrow()).exitCode) },
  },
  {
    id: "exec.child-process",
    title: "node:child_process",
    level,
    proof: "said",
    off: "succeeds",
    code: { ts: () => spawned(spawnSync("/bin/sh", ["-c", "exit 42"]).status) },
  },
  {
    id: "exec.execve",
    title: "execve",
    level,
    proof: "exit",
    own: true,
    off: "succeeds",
    code: { ts: () => execute("/bin/sh", ["sh", "-c", "exit 42"]) },
  },
  {
    id: "exec.memfd",
    title: "execveat of a program in memory",
    level,
    proof: "exit",
    own: true,
    off: "succeeds",
    code: {
      ts: () => {
        const fd = sys("memfd_create", text("x"), 0);
        const program = exits42();
        sys("write", fd, at(program), program.length);
        sys("execveat", fd, text(""), vector(["x"]), vector([]), AT_EMPTY_PATH);
      },
    },
  },
  {
    id: "exec.own-file",
    title: "execve of a program that it wrote",
    level,
    proof: "exit",
    own: true,
    off: "succeeds",
    code: {
      ts: (t) => {
        const path = `${t.own}/program`;
        writeFileSync(path, exits42(), { mode: 0o755 });
        execute(path, ["x"]);
      },
    },
  },
  {
    id: "exec.loader",
    title: "the dynamic loader starts a program",
    level,
    proof: "exit",
    own: true,
    off: "succeeds",
    code: {
      ts: () => execute(loader(), ["ld", "/bin/sh", "-c", "exit 42"]),
    },
  },
  {
    id: "exec.self-as-bun",
    title: "its own executable as a whole Bun",
    level,
    proof: "exit",
    own: true,
    off: "succeeds",
    code: {
      ts: (t) => {
        execute(
          "/proc/self/exe",
          [process.execPath, "-e", "process.exit(42)"],
          ["BUN_BE_BUN=1", `HOME=${t.own}`],
        );
      },
    },
  },
  {
    id: "exec.fork",
    title: "fork by a system call",
    level,
    proof: "said",
    own: true,
    off: "succeeds",
    needs: (host) => (host.arch === "x64" ? null : "this architecture has no fork"),
    code: {
      ts: () => {
        const exit = numberOf("exit_group");
        const child = sys("fork");
        if (child === 0) raw(exit, 0);
        return `process ${child}`;
      },
    },
  },
  {
    id: "exec.not-granted",
    title: "a script starts a program outside of its grant",
    level: "filesystem",
    proof: "said",
    off: "succeeds",
    code: {
      sh: `"$folder/program"; test $? -eq 42`,
      py: `
import subprocess
assert subprocess.run([t.folder + "/program"]).returncode == 42
return "ran"`,
    },
  },
  {
    id: "exec.loader-not-granted",
    title: "a script starts a program outside of its grant by the dynamic loader",
    level: "filesystem",
    proof: "said",
    off: "succeeds",
    code: {
      sh: `loader=$(ls /lib64/ld-linux-x86-64.so.2 /lib/ld-linux-aarch64.so.1 2>/dev/null | head -n 1)
"$loader" "$folder/true"`,
      py: `
import glob, subprocess
loader = (glob.glob("/lib64/ld-linux-x86-64.so.2") + glob.glob("/lib/ld-linux-aarch64.so.1"))[0]
subprocess.run([loader, t.folder + "/true"], check=True)
return "ran"`,
    },
  },
  {
    id: "exec.set-uid",
    title: "a set-uid program gives it more rights",
    level,
    proof: "said",
    off: "succeeds",
    code: {
      // no_new_privs: the kernel then ignores the bit.
      sh: `grep -q '^NoNewPrivs:[[:space:]]*0' /proc/self/status`,
      py: `
assert raw(167 if COLUMN else 157, 39, 0, 0, 0, 0) == 0, "no_new_privs is set"
return "no_new_privs is not set"`,
      ts: () => {
        if (raw(process.arch === "arm64" ? 167 : 157, 39, 0, 0, 0, 0) !== 0)
          throw new Error("no_new_privs is set");
        return "no_new_privs is not set";
      },
    },
  },
];

function spawned(code: number | null): string {
  if (code !== 42) throw new Error(`exit code ${code}`);
  return "started";
}

export function makePrograms(target: Target): void {
  writeFileSync(`${target.folder}/program`, exits42());
  chmodSync(`${target.folder}/program`, 0o755);
  writeFileSync(`${target.folder}/true`, readFileSync("/bin/true"));
  chmodSync(`${target.folder}/true`, 0o755);
}
