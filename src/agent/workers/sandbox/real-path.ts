import { ERRNO, type Kernel, must } from "./libc.ts";

const AT_FDCWD = -100;
const O_CLOEXEC = 0o2000000;
const O_PATH = 0o10000000;
const RESOLVE_NO_SYMLINKS = 0x04;
/** Not there, or out of this user's reach, which comes to the same for the worker. */
const ABSENT: number[] = [-ERRNO.ENOENT, -ERRNO.ENOTDIR, -ERRNO.EACCES];

/**
 * A descriptor that only names the file or folder; null when there is none. Granted paths were real when they were
 * granted: a symbolic link that a worker has put there since is refused, unless `follow`.
 */
export function openRealPath(kernel: Kernel, path: string, follow: boolean): number | null {
  const fd = follow
    ? kernel.call("openat", AT_FDCWD, path, O_PATH | O_CLOEXEC, 0)
    : openWithoutLinks(kernel, path);
  if (ABSENT.includes(fd)) return null;
  return must(`open ${path}${fd === -ERRNO.ELOOP ? ", which holds a symbolic link" : ""}`, fd);
}

function openWithoutLinks(kernel: Kernel, path: string): number {
  // struct open_how { u64 flags, mode, resolve }
  const how = new BigUint64Array([BigInt(O_PATH | O_CLOEXEC), 0n, BigInt(RESOLVE_NO_SYMLINKS)]);
  return kernel.call("openat2", AT_FDCWD, path, how, how.byteLength);
}
