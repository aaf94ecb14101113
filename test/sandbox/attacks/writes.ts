import {
  appendFileSync,
  linkSync,
  mkdirSync,
  renameSync,
  rmdirSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { writeFile } from "node:fs/promises";
import type { Attack } from "../attack.ts";

const level = "filesystem" as const;
const AT_FDCWD = -100;

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
];
