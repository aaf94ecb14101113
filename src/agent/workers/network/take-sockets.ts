import { HoldfastError } from "../../../core/errors.ts";
import { errnoName, openKernel } from "../sandbox/libc.ts";

const F_DUPFD_CLOEXEC = 1030;
const AF_INET = 2;
const SOCK_STREAM_CLOEXEC_NONBLOCK = 1 | 0o2000000 | 0o4000;
const BACKLOG = 128;

/** Sockets that stage 1 made in the worker's network namespace, by the descriptors that they have there. */
export interface HandedSockets {
  tcp: { port: number; fd: number }[];
  udp: { port: number; fd: number }[];
}

export interface SocketTaker {
  /** The same sockets under descriptors of this process. Whoever takes them closes them. */
  take(pid: number, handed: HandedSockets): HandedSockets;
  /** A socket that listens on a free port of 127.0.0.1. */
  listenOnLoopback(): { port: number; fd: number };
  /** Another descriptor for the same socket. */
  duplicate(fd: number): number;
  /** Closes descriptors. */
  discard(taken: HandedSockets): void;
}

/** Opens libc; throws `failed` where that cannot be. */
export function openSocketTaker(): SocketTaker {
  const kernel = openKernel();
  const must = (what: string, result: number): number => {
    if (result >= 0) return result;
    throw new HoldfastError("failed", `sockets of a worker: ${what}: ${errnoName(result)}`);
  };
  const discard = ({ tcp, udp }: HandedSockets) => {
    for (const { fd } of [...tcp, ...udp]) kernel.call("close", fd);
  };
  return {
    discard,
    duplicate: (fd) => must("fcntl", kernel.call("fcntl", fd, F_DUPFD_CLOEXEC, 0)),
    listenOnLoopback() {
      const fd = must("socket", kernel.call("socket", AF_INET, SOCK_STREAM_CLOEXEC_NONBLOCK, 0));
      // struct sockaddr_in { u16 family; u16 port, u32 address in network order; u8 zero[8] }
      const address = Buffer.alloc(16);
      address.writeUInt16LE(AF_INET, 0);
      address.set([127, 0, 0, 1], 4);
      try {
        must("bind", kernel.call("bind", fd, address, address.length));
        must("listen", kernel.call("listen", fd, BACKLOG));
        must("getsockname", kernel.call("getsockname", fd, address, new Int32Array([address.length])));
      } catch (error) {
        kernel.call("close", fd);
        throw error;
      }
      return { port: address.readUInt16BE(2), fd };
    },
    take(pid, handed) {
      const process = must("pidfd_open", kernel.call("pidfd_open", pid, 0));
      const taken: HandedSockets = { tcp: [], udp: [] };
      try {
        for (const kind of ["tcp", "udp"] as const) {
          for (const { port, fd } of handed[kind]) {
            taken[kind].push({ port, fd: must("pidfd_getfd", kernel.call("pidfd_getfd", process, fd, 0)) });
          }
        }
        return taken;
      } catch (error) {
        discard(taken);
        throw error;
      } finally {
        kernel.call("close", process);
      }
    },
  };
}
