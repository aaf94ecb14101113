import { dlopen } from "bun:ffi";
import { closeSync, ftruncateSync, openSync, readFileSync, writeSync } from "node:fs";
import { HoldfastError, messageOf } from "./errors.ts";

const LOCK_EX = 2;
const LOCK_NB = 4;
const LEFT_BEHIND_MS = 2000;
const LOOK_EVERY_MS = 5;
const LIBC_NAMES = [
  "libc.so.6",
  `libc.musl-${process.arch === "arm64" ? "aarch64" : "x86_64"}.so.1`,
  "libSystem.B.dylib",
];

export interface LockFile {
  release(): void;
}

/**
 * Holds an exclusive lock on `path` for the life of this process: flock(2) on a descriptor that children do not
 * inherit, so that the kernel lets go when we die, however we die, and a reused pid means nothing. The file holds our
 * pid for the message of those who come second. `what` is named in it: `agent web-01`.
 *
 * Throws `conflict` when another process holds the lock. Blocks for a moment where the holder is dead: a process that it
 * was about to start has a copy of the descriptor until its exec.
 */
export function acquireLock(path: string, what = "this"): LockFile {
  const fd = open(path, what);
  try {
    for (let waitedMs = 0; !flock(fd); waitedMs += LOOK_EVERY_MS) {
      if (livingHolder(path) !== null || waitedMs >= LEFT_BEHIND_MS) throw heldBy(path, what);
      Bun.sleepSync(LOOK_EVERY_MS);
    }
    ftruncateSync(fd, 0);
    writeSync(fd, `${process.pid}\n`, 0);
  } catch (error) {
    closeSync(fd);
    if (error instanceof HoldfastError) throw error;
    throw new HoldfastError("failed", `cannot write the lock file ${path} of ${what}: ${messageOf(error)}`, {
      cause: error,
    });
  }
  let held = true;
  return {
    release() {
      if (!held) return;
      held = false;
      // The file stays: removing it would let two processes lock two files of the same name.
      ftruncateSync(fd, 0);
      closeSync(fd);
    },
  };
}

function open(path: string, what: string): number {
  try {
    return openSync(path, "a+", 0o600);
  } catch (error) {
    throw new HoldfastError("failed", `cannot open the lock file ${path} of ${what}: ${messageOf(error)}`, {
      cause: error,
    });
  }
}

function heldBy(path: string, what: string): HoldfastError {
  const pid = livingHolder(path);
  const who = pid === null ? "another process" : `pid ${pid}`;
  return new HoldfastError(
    "conflict",
    `${what} is already running: ${who} holds the lock ${path}; stop it first`,
    { details: pid === null ? {} : { pid } },
  );
}

/** The process that the file names, unless it has ended. */
function livingHolder(path: string): number | null {
  const pid = Number.parseInt(readFileSync(path, "utf8"), 10);
  return Number.isInteger(pid) && pid > 0 && isAlive(pid) ? pid : null;
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as { code?: unknown }).code === "EPERM";
  }
}

/** False when somebody else has the lock. */
function flock(fd: number): boolean {
  for (const name of LIBC_NAMES) {
    const library = load(name);
    if (!library) continue;
    const locked = library.symbols.flock(fd, LOCK_EX | LOCK_NB) === 0;
    library.close();
    return locked;
  }
  throw new HoldfastError(
    "failed",
    `cannot lock: none of ${LIBC_NAMES.join(", ")} could be loaded on this system`,
  );
}

function load(name: string) {
  try {
    return dlopen(name, { flock: { args: ["i32", "i32"], returns: "i32" } });
  } catch {
    return undefined;
  }
}
