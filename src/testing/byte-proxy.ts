import { connect, createServer, type Socket } from "node:net";

export interface ByteProxy {
  readonly port: number;
  /** Connections taken since start. */
  readonly connections: number;
  /** Bytes that clients have sent since start. */
  readonly sentBytes: number;
  /** Cuts each later connection after so many bytes from the client; undefined lets it live. */
  cutAfter(bytes: (() => number) | undefined): void;
  /** While paused, nothing is passed on in either direction, and nothing is closed. */
  pause(): void;
  resume(): void;
  /** Until `resume`, what the target answers waits; what clients send is passed on. */
  holdAnswers(): void;
  /** Resets every connection now. */
  cut(): void;
  /** Where new connections go. */
  target(port: number): void;
  stop(): Promise<void>;
}

interface Pair {
  client: Socket;
  upstream: Socket;
}

/** A TCP proxy on loopback that can delay, pause and cut, for tests of everything that must survive a network. */
export async function startByteProxy(options: { target: number; delayMs?: number }): Promise<ByteProxy> {
  const pairs = new Set<Pair>();
  let target = options.target;
  let limit: (() => number) | undefined;
  let paused = false;
  let connections = 0;
  let sentBytes = 0;

  const destroy = (pair: Pair) => {
    pairs.delete(pair);
    pair.client.destroy();
    pair.upstream.destroy();
  };
  const server = createServer({ noDelay: true }, (client) => {
    connections++;
    const upstream = connect({ host: "127.0.0.1", port: target, noDelay: true });
    const pair = { client, upstream };
    pairs.add(pair);
    let left = limit?.() ?? Number.POSITIVE_INFINITY;
    const pass = (to: Socket, data: Buffer | string) => {
      if (options.delayMs === undefined) to.write(data);
      else setTimeout(() => to.write(data), options.delayMs);
    };
    client.on("data", (data) => {
      sentBytes += data.length;
      left -= data.length;
      if (left <= 0) return destroy(pair);
      pass(upstream, data);
    });
    upstream.on("data", (data) => pass(client, data));
    for (const socket of [client, upstream]) {
      if (paused) socket.pause();
      socket.on("error", () => destroy(pair));
      socket.on("close", () => destroy(pair));
    }
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const both = (action: (socket: Socket) => void) => {
    for (const { client, upstream } of pairs) for (const socket of [client, upstream]) action(socket);
  };

  return {
    port: (server.address() as { port: number }).port,
    get connections() {
      return connections;
    },
    get sentBytes() {
      return sentBytes;
    },
    cutAfter: (bytes) => (limit = bytes),
    pause: () => {
      paused = true;
      both((socket) => socket.pause());
    },
    resume: () => {
      paused = false;
      both((socket) => socket.resume());
    },
    holdAnswers: () => pairs.forEach(({ upstream }) => upstream.pause()),
    cut: () => [...pairs].forEach(destroy),
    target: (port) => (target = port),
    stop: async () => {
      [...pairs].forEach(destroy);
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}
