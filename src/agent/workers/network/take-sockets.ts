import { HoldfastError } from "../../../core/errors.ts";
import { errnoName, openKernel } from "../sandbox/libc.ts";

/** Sockets that stage 1 made in the worker's network namespace, by the descriptors that they have there. */
export interface HandedSockets {
  tcp: { port: number; fd: number }[];
  udp: { port: number; fd: number }[];
}

export interface SocketTaker {
  /** The same sockets under descriptors of this process. Whoever takes them closes them. */
  take(pid: number, handed: HandedSockets): HandedSockets;
  /** Closes descriptors that nobody adopted. */
  discard(taken: HandedSockets): void;
}

/** Opens libc; throws `failed` where that cannot be. */
export function openSocketTaker(): SocketTaker {
  const kernel = openKernel();
  const must = (what: string, result: number): number => {
    if (result >= 0) return result;
    throw new HoldfastError("failed", `the worker's sockets: ${what}: ${errnoName(result)}`);
  };
  const discard = ({ tcp, udp }: HandedSockets) => {
    for (const { fd } of [...tcp, ...udp]) kernel.call("close", fd);
  };
  return {
    discard,
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
