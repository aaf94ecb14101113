import {
  appendFileSync,
  chmodSync,
  copyFileSync,
  renameSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import type { Attack } from "../attack.ts";

const level = "filesystem" as const;
const AT_FDCWD = -100;
const XATTR = ["$file", "user.escape", { text: "escaped" }, 7, 0];

/** Its code, the program, modes and owners of files, and the places that belong to everybody. */
export const PLACES: Attack[] = [
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
      // Never away from its place: others start it at the same time.
      ts: (t) => replace(t.program),
      sh: `cp -p "$program" "$program.sh" && mv "$program.sh" "$program"`,
      py: `
import shutil
shutil.copy(t.program, t.program + ".py")
os.rename(t.program + ".py", t.program)`,
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

function replace(path: string): string {
  copyFileSync(path, `${path}.ts`);
  renameSync(`${path}.ts`, path);
  return path;
}

export function kernelAtLeast(release: string, major: number, minor: number): boolean {
  const [ours = 0, ourMinor = 0] = release.split(".").map(Number.parseFloat);
  return ours > major || (ours === major && ourMinor >= minor);
}
