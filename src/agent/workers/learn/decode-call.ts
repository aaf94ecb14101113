import { closeSync, lstatSync, openSync, readSync } from "node:fs";
import { dirname } from "node:path";
import { parseQuestion } from "../network/dns-message.ts";
import type { LearnedCall } from "./learn-filter.ts";
import { located, placed, type ProcessView } from "./process-view.ts";
import { parseSocketAddress, type SocketAddress } from "./socket-address.ts";
import type { SocketKind, SocketKinds } from "./socket-kinds.ts";
import type { Touch } from "./touch.ts";

/** A call as the listener was told of it. */
export interface SeenCall {
  name: LearnedCall;
  args: bigint[];
}

const [O_ACCMODE, O_CREAT, O_TRUNC, O_TMPFILE] = [3, 0o100, 0o1000, 0o20000000];
const O_PATH = 0o10000000;
const AT_EMPTY_PATH = 0x1000;
const [AF_INET, AF_INET6] = [2, 10];
const [IPPROTO_ICMP, IPPROTO_ICMPV6] = [1, 58];
const NAME_SERVER_PORT = 53;
/** struct msghdr: address and its length, the pieces and how many. struct mmsghdr has the count of bytes behind it. */
const MESSAGE_BYTES = 56;
const MESSAGES_STRIDE = 64;
const MAX_MESSAGES = 8;
const MAX_ADDRESS = 128;
const MAX_PIECE = 1500;
const MAX_INTERPRETER = 256;

/** What this call touches. Throws when the process is gone, or has handed over what is not in its memory. */
export function decodeCall(call: SeenCall, view: ProcessView, sockets: SocketKinds): Touch[] {
  const { name, args } = call;
  const number = (at: number) => Number(BigInt.asIntN(32, args[at]!));
  const path = (at: number, folder?: number) =>
    view.absolute(view.text(args[at]!), folder === undefined ? undefined : number(folder));
  switch (name) {
    case "open":
      return opened(path(0), number(1));
    case "openat":
      return opened(path(1, 0), number(2));
    case "openat2":
      return opened(path(1, 0), Number(view.bytes(args[2]!, 8).readBigUInt64LE()));
    case "creat":
      return opened(path(0), O_CREAT | 1);
    case "truncate":
    case "chmod":
    case "chown":
    case "lchown":
    case "utime":
    case "utimes":
      return [written(path(0))];
    case "fchmodat":
    case "fchownat":
    case "utimensat":
      // Without a path it is the file behind the descriptor, which was opened before.
      if (args[1] === 0n) return [];
      return [written(path(1, 0))];
    case "execve":
      return executed(path(0));
    case "execveat":
      if ((number(4) & AT_EMPTY_PATH) !== 0 && view.text(args[1]!) === "")
        return executed(view.descriptor(number(0)));
      return executed(path(1, 0));
    case "mkdir":
    case "mknod":
      return made(path(0));
    case "mkdirat":
    case "mknodat":
      return made(path(1, 0));
    case "rmdir":
    case "unlink":
      return removed(path(0));
    case "unlinkat":
      return removed(path(1, 0));
    case "symlink":
      return made(path(1));
    case "symlinkat":
      return made(path(2, 1));
    case "link":
      return [...removed(path(0)), ...made(path(1))];
    case "linkat":
      return [...removed(path(1, 0)), ...made(path(3, 2))];
    case "rename":
      return moved(path(0), path(1));
    case "renameat":
    case "renameat2":
      return moved(path(1, 0), path(3, 2));
    case "socket":
      return isEcho(number(0), number(2)) ? [{ what: "icmp" }] : [];
    case "connect":
    case "bind":
      return addressed(
        name,
        sockets.of(number(0)),
        view.bytes(args[1]!, Math.min(number(2), MAX_ADDRESS)),
        sockets,
      );
    case "sendto": {
      const payload = view.bytes(args[1]!, Math.min(number(2), MAX_PIECE));
      const address = args[4] === 0n ? null : view.bytes(args[4]!, Math.min(number(5), MAX_ADDRESS));
      return sent(number(0), address, payload, sockets);
    }
    case "sendmsg":
      return message(view.bytes(args[1]!, MESSAGE_BYTES), number(0), view, sockets);
    case "sendmmsg":
      return Array.from({ length: Math.min(number(2), MAX_MESSAGES) }, (_, at) =>
        message(view.bytes(args[1]! + BigInt(at * MESSAGES_STRIDE), MESSAGE_BYTES), number(0), view, sockets),
      ).flat();
  }
}

function opened(asked: string, flags: number): Touch[] {
  if ((flags & O_PATH) !== 0) return [];
  const { path, found } = located(asked);
  const writes = (flags & O_ACCMODE) !== 0 || (flags & O_TRUNC) !== 0;
  if ((flags & O_TMPFILE) !== 0 && writes) return [{ what: "change", path: `${path}/tmp` }];
  if (found === "none" && (flags & O_CREAT) !== 0) return made(path);
  return [{ what: writes ? "write" : "read", path, found }];
}

const written = (path: string): Touch => ({ what: "write", ...located(path) });

/** An entry that is there already, or whose folder is not, is not made: the kernel refuses it, with or without a sandbox. */
function made(path: string): Touch[] {
  return isEntry(path) || !isEntry(dirname(path)) ? [] : [{ what: "change", path: placed(path) }];
}

function removed(path: string): Touch[] {
  return isEntry(path) ? [{ what: "change", path: placed(path) }] : [];
}

function moved(from: string, to: string): Touch[] {
  if (!isEntry(from) || !isEntry(dirname(to))) return [];
  return [from, to].map((path): Touch => ({ what: "change", path: placed(path) }));
}

function isEntry(path: string): boolean {
  try {
    lstatSync(path);
    return true;
  } catch {
    return false;
  }
}

/** The kernel executes the interpreter that a script names in its first line together with it. */
function executed(asked: string): Touch[] {
  const { path: real, found } = located(asked);
  const touch: Touch = { what: "exec", path: asked, real, found };
  const interpreter = found === "file" ? interpreterOf(real) : undefined;
  return interpreter === undefined ? [touch] : [touch, ...executed(interpreter).slice(0, 1)];
}

function interpreterOf(path: string): string | undefined {
  try {
    const file = openSync(path, "r");
    const head = Buffer.alloc(MAX_INTERPRETER);
    const size = readSync(file, head, 0, head.length, 0);
    closeSync(file);
    return /^#![ \t]*(\/[^\s\0]+)/.exec(head.toString("utf8", 0, size))?.[1];
  } catch {
    // It may be executed, but not read.
    return undefined;
  }
}

/** Without the right to, the socket is not made, and nothing more is tried. */
function isEcho(family: number, protocol: number): boolean {
  return (
    (family === AF_INET && protocol === IPPROTO_ICMP) || (family === AF_INET6 && protocol === IPPROTO_ICMPV6)
  );
}

function addressed(call: "connect" | "bind", kind: SocketKind, bytes: Buffer, sockets: SocketKinds): Touch[] {
  const address = parseSocketAddress(bytes);
  if (address.family === "unix")
    return call === "connect" && address.path !== null ? unix(sockets.absolute(address.path)) : [];
  if (address.family !== "internet") return [];
  const { host, port } = address;
  if (kind.type === "icmp") return [];
  if (call === "bind") return kind.type === "stream" && port !== 0 ? [{ what: "listen", port }] : [];
  if (kind.type === "stream") return port === 0 ? [] : [{ what: "connect", host, port }];
  // Resolvers connect datagram sockets only to learn their own address: what counts is what is sent.
  sockets.connected(kind, { host, port });
  return [];
}

function unix(asked: string): Touch[] {
  const { path, found } = located(asked);
  return found === "none" ? [] : [{ what: "unix", path }];
}

function sent(fd: number, address: Buffer | null, payload: Buffer, sockets: SocketKinds): Touch[] {
  if (address === null && !sockets.anyConnected()) return [];
  const kind = sockets.of(fd);
  const target: SocketAddress | undefined =
    address === null ? sockets.targetOf(kind) : parseSocketAddress(address);
  if (target?.family === "unix") return target.path === null ? [] : unix(sockets.absolute(target.path));
  if (target?.family !== "internet" || target.port === 0 || kind.type === "icmp") return [];
  const { host, port } = target;
  const touch: Touch = { what: kind.type === "stream" ? "connect" : "udp", host, port };
  const question = port === NAME_SERVER_PORT ? parseQuestion(payload) : null;
  return question === null ? [touch] : [touch, { what: "name", name: question.name }];
}

function message(header: Buffer, fd: number, view: ProcessView, sockets: SocketKinds): Touch[] {
  const [address, size] = [header.readBigUInt64LE(0), header.readUInt32LE(8)];
  const [pieces, count] = [header.readBigUInt64LE(16), header.readBigUInt64LE(24)];
  const first = count === 0n ? null : view.bytes(pieces, 16);
  const payload = first
    ? view.bytes(first.readBigUInt64LE(0), Math.min(Number(first.readBigUInt64LE(8)), MAX_PIECE))
    : Buffer.alloc(0);
  return sent(fd, address === 0n ? null : view.bytes(address, Math.min(size, MAX_ADDRESS)), payload, sockets);
}
