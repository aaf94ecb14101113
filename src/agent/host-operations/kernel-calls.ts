import { dlopen, ptr, read } from "bun:ffi";
import { HoldfastError, messageOf } from "../../core/errors.ts";

const LIBC_NAMES = ["libc.so.6", `libc.musl-${process.arch === "arm64" ? "aarch64" : "x86_64"}.so.1`];

const SOL_SOCKET = 1;
const SO_PEERCRED = 17;
/** The same numbers on x86-64 and arm64. */
const PIDFD_SEND_SIGNAL = 424n;
const PIDFD_OPEN = 434n;
const F_SETLKW = 7;
const F_WRLCK = 1;
const POLLIN = 1;
const POLLOUT = 4;
const EINTR = 4;

const SYMBOLS = {
  getsockopt: { args: ["i32", "i32", "i32", "ptr", "ptr"], returns: "i32" },
  syscall: { args: ["i64", "i64", "i64", "i64", "i64"], returns: "i64" },
  fcntl: { args: ["i32", "i32", "ptr"], returns: "i32" },
  poll: { args: ["ptr", "u64", "i32"], returns: "i32" },
  close: { args: ["i32"], returns: "i32" },
  __errno_location: { args: [], returns: "ptr" },
} as const;

export interface Peer {
  pid: number;
  uid: number;
  gid: number;
}

/** The few calls to the kernel that this room needs and Bun does not offer. */
export interface KernelCalls {
  /** Who is at the other end of a connected unix socket, as the kernel says it; null when it does not. */
  peerOf(fd: number): Peer | null;
  /** A descriptor that means this process and no later one of the same number; -errno when there is none. */
  openProcess(pid: number): number;
  /** Errno, 0 when sent. */
  signalProcess(pidfd: number, signal: number): number;
  close(fd: number): void;
  /**
   * Waits for a lock that belongs to this process and lies on the file behind the descriptor, also where others inherited the
   * same one (POSIX record locks, fcntl(2)). The kernel gives it back when this process ends, however it ends.
   */
  lock(fd: number): void;
  /** Waits until the descriptor can be read (or written); false when it cannot within `timeoutMs`. */
  wait(fd: number, what: "read" | "write", timeoutMs: number): boolean;
}

/** Throws `failed` where no C library can be loaded. */
export function openKernelCalls(): KernelCalls {
  const { symbols } = load();
  const errno = () => read.i32(symbols.__errno_location()!, 0);
  return {
    peerOf(fd) {
      const credentials = new Int32Array(3);
      const length = new Uint32Array([credentials.byteLength]);
      const failed = symbols.getsockopt(fd, SOL_SOCKET, SO_PEERCRED, ptr(credentials), ptr(length)) !== 0;
      if (failed || length[0] !== credentials.byteLength) return null;
      const [pid, uid, gid] = credentials;
      // The kernel says -1 for a socket without a known peer.
      return uid! >>> 0 === 0xffff_ffff ? null : { pid: pid!, uid: uid! >>> 0, gid: gid! >>> 0 };
    },
    openProcess(pid) {
      const fd = Number(symbols.syscall(PIDFD_OPEN, BigInt(pid), 0n, 0n, 0n));
      return fd < 0 ? -errno() : fd;
    },
    signalProcess(pidfd, signal) {
      const sent = symbols.syscall(PIDFD_SEND_SIGNAL, BigInt(pidfd), BigInt(signal), 0n, 0n);
      return Number(sent) === 0 ? 0 : errno();
    },
    close: (fd) => void symbols.close(fd),
    lock(fd) {
      // struct flock: i16 type, i16 whence, i64 start, i64 length (0: all), i32 pid.
      const flock = new Uint8Array(32);
      new DataView(flock.buffer).setInt16(0, F_WRLCK, true);
      while (symbols.fcntl(fd, F_SETLKW, ptr(flock)) !== 0) {
        if (errno() !== EINTR) {
          throw new HoldfastError("failed", `cannot lock descriptor ${fd}: errno ${errno()}`);
        }
      }
    },
    wait(fd, what, timeoutMs) {
      const pollfd = new Uint8Array(8);
      const view = new DataView(pollfd.buffer);
      view.setInt32(0, fd, true);
      view.setInt16(4, what === "read" ? POLLIN : POLLOUT, true);
      return symbols.poll(ptr(pollfd), 1, Math.min(timeoutMs, 0x7fffffff)) > 0;
    },
  };
}

function load() {
  let why = "";
  for (const name of LIBC_NAMES) {
    try {
      return dlopen(name, SYMBOLS);
    } catch (error) {
      why ||= messageOf(error);
    }
  }
  throw new HoldfastError(
    "failed",
    `none of ${LIBC_NAMES.join(", ")} could be loaded (${why}); is too little memory allowed?`,
  );
}
