import {
  appendFileSync,
  chmodSync,
  linkSync,
  mkdirSync,
  renameSync,
  rmdirSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { writeFile } from "node:fs/promises";
import type { Attack } from "../attack.ts";

const level = "filesystem" as const;
const AT_FDCWD = -100;
const XATTR = ["$file", "user.escape", { text: "escaped" }, 7, 0];

/** Changing what is not its own. The harness compares the folder before and after. */
export const WRITES: Attack[] = [
  {
    id: "write.file",
    title: "write over a file",
    level,
    proof: "change",
    off: "succeeds",
    code: {
      ts: (t) => writeFileSync(t.file, "escaped"),
      sh: `echo escaped > "$file"`,
      py: `open(t.file, "w").write("escaped")`,
    },
  },
  {
    id: "write.async",
    title: "write over a file on a thread of the pool",
    level,
    proof: "change",
    off: "succeeds",
    code: { ts: (t) => writeFile(t.file, "escaped") },
  },
  {
    id: "write.bun",
    title: "write over a file with Bun.write",
    level,
    proof: "change",
    off: "succeeds",
    code: { ts: (t) => Bun.write(t.file, "escaped") },
  },
  {
    id: "write.append",
    title: "append to a file",
    level,
    proof: "change",
    off: "succeeds",
    code: {
      ts: (t) => appendFileSync(t.file, "escaped"),
      sh: `echo escaped >> "$file"`,
      py: `open(t.file, "a").write("escaped")`,
    },
  },
  {
    id: "write.create",
    title: "create a file",
    level,
    proof: "change",
    off: "succeeds",
    code: {
      ts: (t) => writeFileSync(`${t.folder}/new`, "escaped"),
      sh: `echo escaped > "$folder/new"`,
      py: `open(t.folder + "/new", "w").write("escaped")`,
    },
  },
  {
    id: "write.truncate",
    title: "truncate a file by its name",
    level,
    proof: "change",
    off: "succeeds",
    calls: [{ call: "truncate", args: ["$file", 0] }],
    code: { ts: (t) => truncateSync(t.file, 0) },
  },
  {
    id: "write.open-truncate",
    title: "truncate a file by opening it for reading",
    level,
    proof: "change",
    off: "succeeds",
    calls: [{ call: "openat", args: [AT_FDCWD, "$file", 0o1000, 0] }],
  },
  {
    id: "write.unlink",
    title: "remove a file",
    level,
    proof: "change",
    off: "succeeds",
    code: {
      ts: (t) => unlinkSync(t.file),
      sh: `rm -f "$file" && test ! -e "$file"`,
      py: `os.unlink(t.file)`,
    },
  },
  {
    id: "write.rename",
    title: "rename a file",
    level,
    proof: "change",
    off: "succeeds",
    code: {
      ts: (t) => renameSync(t.file, `${t.folder}/moved`),
      sh: `mv "$file" "$folder/moved"`,
      py: `os.rename(t.file, t.folder + "/moved")`,
    },
  },
  {
    id: "write.rename-in",
    title: "move a file into its own folder",
    level,
    proof: "change",
    off: "succeeds",
    calls: [{ call: "renameat2", args: [AT_FDCWD, "$file", AT_FDCWD, "$own/$id", 0] }],
  },
  {
    id: "write.rename-out",
    title: "move a file of its own over another",
    level,
    proof: "change",
    off: "succeeds",
    code: {
      ts: (t) => {
        writeFileSync(`${t.own}/mine`, "escaped");
        renameSync(`${t.own}/mine`, t.file);
      },
      sh: `echo escaped > "$own/mine-sh" && mv -f "$own/mine-sh" "$file"`,
      py: `
open(t.own + "/mine", "w").write("escaped")
os.rename(t.own + "/mine", t.file)`,
    },
  },
  {
    id: "write.exchange",
    title: "exchange a file with one of its own",
    level,
    proof: "change",
    off: "succeeds",
    calls: [
      { call: "openat", args: [AT_FDCWD, "$own/$id", 0o101, 0o644] },
      { call: "renameat2", args: [AT_FDCWD, "$file", AT_FDCWD, "$own/$id", 2] },
    ],
  },
  {
    id: "write.symlink",
    title: "make a symbolic link",
    level,
    proof: "change",
    off: "succeeds",
    code: {
      ts: (t) => symlinkSync("/etc/passwd", `${t.folder}/link`),
      sh: `ln -s /etc/passwd "$folder/link"`,
      py: `os.symlink("/etc/passwd", t.folder + "/link")`,
    },
  },
  {
    id: "write.hardlink",
    title: "make a hard link",
    level,
    proof: "change",
    off: "succeeds",
    code: {
      ts: (t) => linkSync(t.file, `${t.folder}/hard`),
      sh: `ln "$file" "$folder/hard"`,
      py: `os.link(t.file, t.folder + "/hard")`,
    },
  },
  {
    id: "write.mkdir",
    title: "make a folder",
    level,
    proof: "change",
    off: "succeeds",
    code: {
      ts: (t) => mkdirSync(`${t.folder}/made`),
      sh: `mkdir "$folder/made"`,
      py: `os.mkdir(t.folder + "/made")`,
    },
  },
  {
    id: "write.rmdir",
    title: "remove a folder",
    level,
    proof: "change",
    off: "succeeds",
    code: {
      ts: (t) => rmdirSync(`${t.folder}/empty`),
      sh: `rmdir "$folder/empty"`,
      py: `os.rmdir(t.folder + "/empty")`,
    },
  },
  {
    id: "write.fifo",
    title: "make a named pipe",
    level,
    proof: "change",
    off: "succeeds",
    calls: [{ call: "mknodat", args: [AT_FDCWD, "$folder/pipe", 0o10644, 0] }],
    code: { sh: `mkfifo "$folder/pipe"` },
  },
  {
    id: "write.bind-socket",
    title: "make a unix socket",
    level,
    proof: "change",
    off: "succeeds",
    code: {
      py: `
import socket
socket.socket(socket.AF_UNIX).bind(t.folder + "/sock")`,
      ts: (t) => Bun.listen({ unix: `${t.folder}/sock`, socket: { data() {} } }).unref(),
    },
  },
  {
    id: "write.own-code",
    title: "change its own code",
    level,
    proof: "change",
    off: "succeeds",
    code: {
      ts: (t) => appendFileSync(t.code, "// escaped\n"),
      sh: `echo '# escaped' >> "$code"`,
      py: `open(t.code, "a").write("# escaped\\n")`,
    },
  },
  {
    id: "write.executable",
    title: "put another program in the executable's place",
    level,
    proof: "said",
    off: "succeeds",
    needs: (host) => (host.compiled ? null : "the program is Bun itself when run from source"),
    code: {
      ts: (t) => swap(t.program, renameSync),
      sh: `mv "$program" "$program.escaped" && mv "$program.escaped" "$program"`,
      py: `
os.rename(t.program, t.program + ".escaped")
os.rename(t.program + ".escaped", t.program)`,
    },
  },
  {
    id: "write.chmod",
    title: "change a file's mode",
    level,
    proof: "change",
    off: "succeeds",
    calls: [{ call: "fchmodat", args: [AT_FDCWD, "$file", 0o4711] }],
    code: {
      ts: (t) => chmodSync(t.file, 0o4711),
      sh: `chmod 4711 "$file"`,
    },
  },
  {
    id: "write.fchmodat2",
    title: "change a file's mode with fchmodat2",
    level,
    proof: "change",
    off: "succeeds",
    needs: (host) =>
      kernelAtLeast(host.read("/proc/sys/kernel/osrelease"), 6, 6) ? null : "came with Linux 6.6",
    calls: [{ call: "fchmodat2", args: [AT_FDCWD, "$file", 0o4711, 0] }],
  },
  {
    id: "write.chown",
    title: "change a file's owner",
    level,
    proof: "change",
    off: "succeeds as root",
    calls: [{ call: "fchownat", args: [AT_FDCWD, "$file", 12345, 12345, 0] }],
    code: { sh: `chown 12345:12345 "$file"` },
  },
  {
    id: "write.utimes",
    title: "change a file's times",
    level,
    proof: "change",
    off: "succeeds",
    calls: [{ call: "utimensat", args: [AT_FDCWD, "$file", { u64: [1000, 0, 1000, 0] }, 0] }],
    code: {
      ts: (t) => utimesSync(t.file, 1000, 1000),
      sh: `touch -d @1000 "$file"`,
    },
  },
  {
    id: "write.xattr",
    title: "change a file's extended attributes",
    level,
    proof: "said",
    off: "succeeds",
    optional: true,
    calls: [{ call: "setxattr", args: XATTR }],
  },
  {
    id: "write.proc-sys",
    title: "open a kernel setting for writing",
    level,
    proof: "said",
    off: "succeeds as root",
    calls: [{ call: "openat", args: [AT_FDCWD, "/proc/sys/vm/swappiness", 1, 0] }],
    code: { sh: `value=$(cat /proc/sys/vm/swappiness) && echo "$value" > /proc/sys/vm/swappiness` },
  },
  {
    id: "write.dev-shm",
    title: "make a file in shared memory",
    level,
    proof: "said",
    off: "succeeds",
    needs: (host) => (host.has("/dev/shm") ? null : "no /dev/shm here"),
    code: {
      ts: () => fleeting(`/dev/shm/holdfast-escape-${process.pid}`),
      sh: `echo x > "/dev/shm/holdfast-escape-$$" && rm "/dev/shm/holdfast-escape-$$"`,
      py: `
path = f"/dev/shm/holdfast-escape-{os.getpid()}"
open(path, "w").close()
os.unlink(path)`,
    },
  },
  {
    id: "write.tmp",
    title: "make a file in /tmp",
    level,
    proof: "said",
    off: "succeeds",
    code: {
      ts: () => fleeting(`/tmp/holdfast-escape-${process.pid}`),
      sh: `echo x > "/tmp/holdfast-escape-$$" && rm "/tmp/holdfast-escape-$$"`,
      py: `
path = f"/tmp/holdfast-escape-{os.getpid()}"
open(path, "w").close()
os.unlink(path)`,
    },
  },
];

function fleeting(path: string): string {
  writeFileSync(path, "escaped");
  unlinkSync(path);
  return path;
}

function swap(path: string, rename: (from: string, to: string) => void): string {
  rename(path, `${path}.escaped`);
  rename(`${path}.escaped`, path);
  return path;
}

export function kernelAtLeast(release: string, major: number, minor: number): boolean {
  const [ours = 0, ourMinor = 0] = release.split(".").map(Number.parseFloat);
  return ours > major || (ours === major && ourMinor >= minor);
}
