import { closeSync, openSync, readlinkSync, readSync, realpathSync, statSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { HoldfastError } from "../../../core/errors.ts";
import type { Found } from "./touch.ts";

const PAGE = 4096;
const AT_FDCWD = -100;

/** Memory, folder and descriptors of a thread that waits in a system call. Everything throws when it is gone. */
export class ProcessView {
  readonly #proc: string;
  readonly tid: number;

  constructor(tid: number) {
    this.tid = tid;
    this.#proc = `/proc/${tid}`;
  }

  /** Up to `size` bytes; fewer where the memory ends. */
  bytes(address: bigint, size: number): Buffer {
    const memory = openSync(`${this.#proc}/mem`, "r");
    try {
      const bytes = Buffer.alloc(size);
      return bytes.subarray(0, readSync(memory, bytes, 0, size, Number(address)));
    } finally {
      closeSync(memory);
    }
  }

  /** The text at this address up to its NUL. */
  text(address: bigint): string {
    const bytes = this.bytes(address, PAGE);
    const end = bytes.indexOf(0);
    if (end === -1) throw new HoldfastError("too_large", "a path without an end");
    return bytes.toString("utf8", 0, end);
  }

  /** What a descriptor stands for, such as `/etc/hosts` or `socket:[123]`. */
  descriptor(fd: number): string {
    return readlinkSync(`${this.#proc}/fd/${fd}`);
  }

  /** Absolute; `folder` is a descriptor, or AT_FDCWD. `/proc/self` stays what it is for the worker. */
  absolute(path: string, folder = AT_FDCWD): string {
    if (path.startsWith("/")) return resolve(path);
    const base = folder === AT_FDCWD ? readlinkSync(`${this.#proc}/cwd`) : this.descriptor(folder);
    return resolve(base, path);
  }
}

/** What these lead to for us is not what they lead to for the worker. */
const OF_EACH_PROCESS = /^\/(proc\/|dev\/(stdin|stdout|stderr)$|dev\/fd(\/|$))/;

/** The path without symbolic links, and what is there. */
export function located(path: string): { path: string; found: Found } {
  if (OF_EACH_PROCESS.test(path)) return { path, found: "other" };
  try {
    const real = realpathSync.native(path);
    const ours = `/proc/${process.pid}/`;
    // A link like /etc/mtab.
    if (real.startsWith(ours)) return { path: `/proc/self/${real.slice(ours.length)}`, found: "other" };
    return { path: real, found: foundAt(real) };
  } catch {
    return { path: placed(path), found: "none" };
  }
}

/** The entry itself, also where it is a symbolic link: its folder without links. */
export function placed(path: string): string {
  try {
    return join(realpathSync.native(dirname(path)), basename(path));
  } catch {
    return path;
  }
}

function foundAt(path: string): Found {
  const stat = statSync(path);
  return stat.isFile() ? "file" : stat.isDirectory() ? "folder" : "other";
}
