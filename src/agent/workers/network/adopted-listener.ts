import { createServer, type Server, type Socket } from "node:net";
import type { Clock } from "../../../core/clock.ts";
import type { SocketTaker } from "./take-sockets.ts";

/**
 * Connections that are accepted at once, and the time after which as many are again. A worker that opens them in a loop
 * would keep the agent busy with nothing else; as it is, it waits for the kernel's queue.
 */
const BURST = 64;
const PAUSE_MS = 250;

export interface AdoptedListener {
  close(): void;
}

/** Accepts on listening sockets of this process, which it owns from now on, with one measure for all of them. */
export async function adoptListeners(
  sockets: { port: number; fd: number }[],
  {
    clock,
    taker,
    accept,
  }: { clock: Clock; taker: SocketTaker; accept: (client: Socket, port: number) => void },
): Promise<AdoptedListener> {
  let servers: Server[] = [];
  let closed = false;
  let cancel = () => {};
  let accepted = 0;
  let since = clock.mono();

  const open = async (): Promise<void> => {
    for (const { port, fd } of sockets) {
      // A server closes its descriptor; the socket itself goes on queueing under the first one.
      const server = await serve(taker.duplicate(fd), (client) => onClient(client, port));
      if (closed) server.close();
      else servers.push(server);
    }
  };
  const stop = () => {
    for (const server of servers) server.close();
    servers = [];
  };
  const pause = (): void => {
    stop();
    cancel = clock.after(PAUSE_MS, () => {
      // Out of descriptors, for one: later there may be some.
      open().catch(() => closed || pause());
    });
  };
  const onClient = (client: Socket, port: number): void => {
    const now = clock.mono();
    if (now - since >= PAUSE_MS) [since, accepted] = [now, 0];
    if (++accepted === BURST) pause();
    accept(client, port);
  };
  const close = () => {
    closed = true;
    cancel();
    stop();
    taker.discard({ tcp: sockets, udp: [] });
  };
  try {
    await open();
  } catch (error) {
    close();
    throw error;
  }
  return { close };
}

function serve(fd: number, onConnection: (client: Socket) => void): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, onConnection);
    server.once("error", reject);
    server.listen({ fd }, () => {
      server.off("error", reject).on("error", () => {});
      resolve(server);
    });
  });
}
