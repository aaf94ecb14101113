import type { MountPolicy } from "./launch-policy.ts";
import { ERRNO, type Kernel, must } from "./libc.ts";
import { openRealPath } from "./real-path.ts";

const CLONE_NEWNS = 0x20000;
const MS_REC_PRIVATE = 0x4000 | 0x40000;
const MS_READONLY_BARE = 1 | 2 | 4 | 8;
const AT_FDCWD = -100;
const AT_EMPTY_PATH = 0x1000;
const AT_RECURSIVE = 0x8000;
const OPEN_TREE_CLONE = 1;
const OPEN_TREE_CLOEXEC = 0o2000000;
const MOVE_MOUNT_F_EMPTY_PATH = 0x04;
const MOVE_MOUNT_T_EMPTY_PATH = 0x40;
const MOUNT_ATTR_RDONLY = 1n;
const COVER_OF_FILES = "/dev/null";

/** A file or folder of the old view, to be put somewhere in the new one. */
interface Piece {
  path: string;
  /** Names the place; a place, because names can change meanwhile. */
  at: number;
  tree: number;
}

/** A mount namespace in which everything is read-only but what the policy names. Needs CAP_SYS_ADMIN in its user namespace. */
export function enterMounts(kernel: Kernel, policy: MountPolicy): void {
  must("mount namespace", kernel.call("unshare", CLONE_NEWNS));
  // Nothing that happens here is seen outside, and the other way round.
  must("private mounts", kernel.call("mount", null, "/", null, MS_REC_PRIVATE, null));
  // Taken while everything is writable still: a piece keeps that.
  const own = policy.own === undefined ? [] : takePiece(kernel, policy.own, policy.own, true);
  const writable = [...own, ...policy.writable.flatMap((path) => takePiece(kernel, path, path, false))];
  const replaced = policy.replaced.flatMap(({ path, by }) => takePiece(kernel, path, by, true));
  makeReadOnly(kernel, "read-only mounts", AT_FDCWD, "/", AT_RECURSIVE);
  for (const piece of writable) putPiece(kernel, piece);
  for (const piece of replaced) {
    makeReadOnly(kernel, `read-only ${piece.path}`, piece.tree, "", AT_EMPTY_PATH);
    putPiece(kernel, piece);
  }
  // Last: what they cover may lie in a writable folder.
  for (const path of policy.hidden) cover(kernel, path);
}

/** None when the place is absent: there is nothing to replace, or to write to. */
function takePiece(kernel: Kernel, path: string, source: string, follow: boolean): Piece[] {
  const at = openRealPath(kernel, path, follow);
  if (at === null) return [];
  const from = source === path ? at : openRealPath(kernel, source, follow);
  if (from === null) must(`open ${source}`, -ERRNO.ENOENT);
  const flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH | AT_RECURSIVE;
  return [{ path, at, tree: must(`clone ${source}`, kernel.call("open_tree", from, "", flags)) }];
}

function putPiece(kernel: Kernel, { path, at, tree }: Piece): void {
  const flags = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH;
  must(`mount ${path}`, kernel.call("move_mount", tree, "", at, "", flags));
  kernel.call("close", tree);
  kernel.call("close", at);
}

function makeReadOnly(kernel: Kernel, what: string, fd: number, path: string, flags: number): void {
  // struct mount_attr { u64 attr_set, attr_clr, propagation, userns_fd }
  const attributes = new BigUint64Array([MOUNT_ATTR_RDONLY, 0n, 0n, 0n]);
  must(what, kernel.call("mount_setattr", fd, path, flags, attributes, attributes.byteLength));
}

/** Puts something empty over it: a folder without entries, a file that is at its end. */
function cover(kernel: Kernel, path: string): void {
  const options = "size=4k,nr_inodes=2,mode=755";
  const asFolder = kernel.call("mount", "empty", path, "tmpfs", MS_READONLY_BARE, options);
  if (asFolder === -ERRNO.ENOENT) return;
  if (asFolder !== -ERRNO.ENOTDIR) {
    must(`hide ${path}`, asFolder);
    return;
  }
  for (const piece of takePiece(kernel, path, COVER_OF_FILES, true)) putPiece(kernel, piece);
}
