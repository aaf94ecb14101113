import { dlopen, FFIType, ptr, read } from "bun:ffi";
import { HoldfastError } from "../../../core/errors.ts";
import { type Arch, type CallName, callNumber } from "./syscalls.ts";

/** Numbers, text (NUL-terminated), memory (its address) or null. */
export type CallArgument = number | bigint | string | ArrayBufferView | null;

/** System calls by name, straight to the kernel. */
export interface Kernel {
  arch: Arch;
  /** What the call returns, or -errno; at most six arguments. ENOSYS where this architecture has no such call. */
  call(name: CallName, ...args: CallArgument[]): number;
  /** Address of memory that stays reachable for as long as the process, for structures that hold pointers. */
  address(memory: ArrayBufferView | string): bigint;
}

const LIBC_NAMES = ["libc.so.6", "libc.musl-x86_64.so.1", "libc.musl-aarch64.so.1"];

export function archOf(name: string): Arch | undefined {
  return name === "x64" || name === "arm64" ? name : undefined;
}

/** Opens libc. Throws `failed` on another architecture, and where there is neither glibc nor musl. */
export function openKernel(): Kernel {
  const arch = archOf(process.arch);
  if (!arch) throw new HoldfastError("failed", `sandbox: no system call numbers for ${process.arch}`);
  const libc = loadLibc();
  const reachable: unknown[] = [];
  const pointer = (memory: ArrayBufferView | string): number => {
    const view = typeof memory === "string" ? Buffer.from(`${memory}\0`) : memory;
    reachable.push(view);
    return ptr(view as Uint8Array);
  };
  const word = (argument: CallArgument | undefined): number | bigint => {
    if (typeof argument === "number" || typeof argument === "bigint") return argument;
    return argument === undefined || argument === null ? 0 : pointer(argument);
  };
  return {
    arch,
    address: (memory) => BigInt(pointer(memory)),
    call(name, a, b, c, d, e, f) {
      const number = callNumber(name, arch);
      if (number === null) return -ERRNO.ENOSYS;
      const result = Number(libc.syscall(number, word(a), word(b), word(c), word(d), word(e), word(f)));
      return result === -1 ? -read.i32(libc.__errno_location()!, 0) : result;
    },
  };
}

function loadLibc() {
  const symbols = {
    syscall: { args: ["i64", "i64", "i64", "i64", "i64", "i64", "i64"], returns: FFIType.i64_fast },
    __errno_location: { args: [], returns: "ptr" },
  } as const;
  let first: unknown;
  for (const name of LIBC_NAMES) {
    try {
      return dlopen(name, symbols).symbols;
    } catch (error) {
      first ??= error;
    }
  }
  throw new HoldfastError("failed", `sandbox: the C library cannot be opened: ${first}`, { cause: first });
}

/** The same numbers on both architectures. */
export const ERRNO = {
  EPERM: 1,
  ENOENT: 2,
  ESRCH: 3,
  EINTR: 4,
  EIO: 5,
  E2BIG: 7,
  ENOEXEC: 8,
  EBADF: 9,
  ECHILD: 10,
  EAGAIN: 11,
  ENOMEM: 12,
  EACCES: 13,
  EFAULT: 14,
  EBUSY: 16,
  EEXIST: 17,
  ENODEV: 19,
  ENOTDIR: 20,
  EISDIR: 21,
  EINVAL: 22,
  ENFILE: 23,
  EMFILE: 24,
  ETXTBSY: 26,
  ENOSPC: 28,
  EROFS: 30,
  EPIPE: 32,
  ENAMETOOLONG: 36,
  ENOSYS: 38,
  ELOOP: 40,
  EUSERS: 87,
  EPROTONOSUPPORT: 93,
  EOPNOTSUPP: 95,
  EAFNOSUPPORT: 97,
  EADDRINUSE: 98,
  EADDRNOTAVAIL: 99,
  ECONNRESET: 104,
} as const;

export type ErrnoName = keyof typeof ERRNO;

/** `EPERM` for -1 or 1; `errno 71` for one without a name here. */
export function errnoName(code: number): string {
  const number = Math.abs(code);
  const found = Object.entries(ERRNO).find(([, value]) => value === number);
  return found?.[0] ?? `errno ${number}`;
}

/** Gives the result back, or throws `sandbox: <what>: <errno name>`. */
export function must(what: string, result: number): number {
  if (result >= 0) return result;
  throw new HoldfastError("failed", `sandbox: ${what}: ${errnoName(result)}`);
}
