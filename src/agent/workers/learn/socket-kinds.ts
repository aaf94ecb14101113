import { readFileSync } from "node:fs";
import { ERRNO, type Kernel, must } from "../sandbox/libc.ts";
import type { ProcessView } from "./process-view.ts";
import type { SocketAddress } from "./socket-address.ts";

const [SOL_SOCKET, SO_TYPE, SO_PROTOCOL] = [1, 3, 38];
const [SOCK_STREAM, SOCK_SEQPACKET] = [1, 5];
const [IPPROTO_ICMP, IPPROTO_ICMPV6] = [1, 58];
/** Of datagram sockets so many are remembered; a worker that opens more is still followed, but for its oldest ones. */
const MAX_CONNECTED = 4096;

export interface SocketKind {
  /** The kernel's number, the same in every process that has the socket. */
  inode: string;
  type: "stream" | "datagram" | "icmp";
}

/** Remembers where datagram sockets were connected to, over all processes of a worker. */
export class ConnectedSockets {
  readonly #targets = new Map<string, SocketAddress>();

  get size(): number {
    return this.#targets.size;
  }

  get(inode: string): SocketAddress | undefined {
    return this.#targets.get(inode);
  }

  set(inode: string, target: SocketAddress): void {
    this.#targets.delete(inode);
    this.#targets.set(inode, target);
    const [oldest] = this.#targets.keys();
    if (this.#targets.size > MAX_CONNECTED) this.#targets.delete(oldest!);
  }
}

/** The sockets of one process. */
export interface SocketKinds {
  of(fd: number): SocketKind;
  connected(kind: SocketKind, target: { host: string; port: number }): void;
  targetOf(kind: SocketKind): SocketAddress | undefined;
  anyConnected(): boolean;
  /** Of the path in a unix socket's address. */
  absolute(path: string): string;
}

export function socketsOf(
  kernel: Kernel,
  view: Pick<ProcessView, "tid" | "descriptor" | "absolute">,
  known: ConnectedSockets,
): SocketKinds {
  return {
    of: (fd) => ({ inode: view.descriptor(fd), type: typeOf(kernel, view.tid, fd) }),
    connected: ({ inode }, target) => known.set(inode, { family: "internet", ...target }),
    targetOf: ({ inode }) => known.get(inode),
    anyConnected: () => known.size > 0,
    absolute: (path) => view.absolute(path),
  };
}

function typeOf(kernel: Kernel, tid: number, fd: number): SocketKind["type"] {
  const socket = takeDescriptor(kernel, leaderOf(tid), fd);
  try {
    const protocol = option(kernel, socket, SO_PROTOCOL);
    if (protocol === IPPROTO_ICMP || protocol === IPPROTO_ICMPV6) return "icmp";
    return [SOCK_STREAM, SOCK_SEQPACKET].includes(option(kernel, socket, SO_TYPE)) ? "stream" : "datagram";
  } finally {
    kernel.call("close", socket);
  }
}

function option(kernel: Kernel, socket: number, name: number): number {
  const value = new Int32Array(1);
  must("getsockopt", kernel.call("getsockopt", socket, SOL_SOCKET, name, value, new Int32Array([4])));
  return value[0]!;
}

/** A descriptor of another process, as one of this process; whoever takes it closes it. */
export function takeDescriptor(kernel: Kernel, pid: number, fd: number): number {
  const process = must("pidfd_open", kernel.call("pidfd_open", pid, 0));
  try {
    const taken = kernel.call("pidfd_getfd", process, fd, 0);
    if (taken === -ERRNO.ENOSYS) must("pidfd_getfd (Linux 5.6 has it)", taken);
    return must("pidfd_getfd", taken);
  } finally {
    kernel.call("close", process);
  }
}

/** Only the first thread of a process can be opened by its number. */
export function leaderOf(tid: number): number {
  return Number(/^Tgid:\t(\d+)$/m.exec(readFileSync(`/proc/${tid}/status`, "utf8"))?.[1]);
}
