import { linkSync, readdirSync, readFileSync, symlinkSync } from "node:fs";
import { readFile } from "node:fs/promises";
import type { Attack } from "../attack.ts";
import { at, sys } from "./kit.ts";

const level = "filesystem" as const;
const AT_FDCWD = -100;

/** Reading what was not granted, in every way that reaches another part of the kernel or another thread. */
export const READS: Attack[] = [
  {
    id: "read.sync",
    title: "read a file",
    level,
    proof: "secret",
    off: "succeeds",
    code: {
      ts: (t) => readFileSync(t.file, "utf8"),
      sh: `cat "$file"`,
      py: `return open(t.file).read()`,
    },
  },
  {
    id: "read.async",
    title: "read a file on a thread of the pool",
    level,
    proof: "secret",
    off: "succeeds",
    code: {
      ts: (t) => readFile(t.file, "utf8"),
      py: `
import threading
got = []
thread = threading.Thread(target=lambda: got.append(open(t.file).read()))
thread.start()
thread.join()
return got[0]`,
    },
  },
  {
    id: "read.bun-file",
    title: "read a file with Bun.file",
    level,
    proof: "secret",
    off: "succeeds",
    code: { ts: (t) => Bun.file(t.file).text() },
  },
  {
    id: "read.thread",
    title: "read a file in a Worker",
    level,
    proof: "secret",
    off: "succeeds",
    code: {
      ts: (t) => {
        const source = `self.onmessage = async (event) => {
          try { postMessage(await Bun.file(event.data).text()); } catch (error) { postMessage({ error: String(error) }); }
        };`;
        const worker = new Worker(URL.createObjectURL(new Blob([source])));
        return new Promise((resolve, reject) => {
          worker.onmessage = ({ data }) => {
            worker.terminate();
            if (typeof data === "string") resolve(data);
            else reject(new Error(data.error));
          };
          worker.onerror = (event) => reject(new Error(event.message));
          worker.postMessage(t.file);
        });
      },
    },
  },
  {
    id: "read.ffi",
    title: "read a file by system calls",
    level,
    proof: "secret",
    off: "succeeds",
    code: {
      ts: (t) => {
        const buffer = Buffer.alloc(200);
        const fd = sys("openat", AT_FDCWD, at(Buffer.from(`${t.file}\0`)), 0, 0);
        return buffer.toString("utf8", 0, sys("read", fd, at(buffer), 200));
      },
      py: `return os.read(sys("openat", -100, text(t.file), 0, 0), 200).decode()`,
    },
  },
  {
    id: "read.openat2",
    title: "open a file with openat2",
    level,
    proof: "said",
    off: "succeeds",
    calls: [{ call: "openat2", args: [AT_FDCWD, "$file", { u64: [0, 0, 0] }, 24] }],
  },
  {
    id: "read.list",
    title: "list a folder",
    level,
    proof: "said",
    off: "succeeds",
    code: {
      ts: (t) => readdirSync(t.folder).join(),
      sh: `ls "$folder"`,
      py: `return os.listdir(t.folder)`,
    },
  },
  {
    id: "read.through-symlink",
    title: "read a file through a link in its own folder",
    level,
    proof: "secret",
    off: "succeeds",
    code: {
      ts: (t) => {
        symlinkSync(t.file, `${t.own}/link-${t.id}`);
        return readFileSync(`${t.own}/link-${t.id}`, "utf8");
      },
      sh: `ln -s "$file" "$own/link-sh" && cat "$own/link-sh"`,
      py: `
os.symlink(t.file, t.own + "/link-py")
return open(t.own + "/link-py").read()`,
    },
  },
  {
    id: "read.through-hardlink",
    title: "read a file through a hard link in its own folder",
    level,
    proof: "secret",
    off: "succeeds",
    code: {
      ts: (t) => {
        linkSync(t.file, `${t.own}/hard-${t.id}`);
        return readFileSync(`${t.own}/hard-${t.id}`, "utf8");
      },
      sh: `ln "$file" "$own/hard-sh" && cat "$own/hard-sh"`,
      py: `
os.link(t.file, t.own + "/hard-py")
return open(t.own + "/hard-py").read()`,
    },
  },
  {
    id: "read.proc-root",
    title: "read a file through /proc/self/root",
    level,
    proof: "secret",
    off: "succeeds",
    code: {
      ts: (t) => readFileSync(`/proc/self/root${t.file}`, "utf8"),
      sh: `cat "/proc/self/root$file"`,
      py: `return open("/proc/self/root" + t.file).read()`,
    },
  },
];
