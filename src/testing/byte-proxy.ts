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

export interface ByteProxyOptions {
  target: number;
  /** One way. */
  delayMs?: number;
  /** Of each connection, one way. */
  bytesPerSecond?: number;
}

/** A TCP proxy on loopback that can delay, slow down, pause and cut, for tests of everything that must survive a network. */
export async function startByteProxy(options: ByteProxyOptions): Promise<ByteProxy> {
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
    const up = oneWay(options, upstream, () => !paused);
    const down = oneWay(options, client, () => !paused);
    client.on("data", (data) => {
      sentBytes += data.length;
      left -= data.length;
      if (left <= 0) return destroy(pair);
      up(client, data);
    });
    upstream.on("data", (data) => down(upstream, data));
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

/** What a router on the way may hold, beside what is under way. */
const BUFFER_BYTES = 64 * 1024;

/** Passes bytes on as a link of this delay and rate does: in order, and no more of them than fit into it. */
function oneWay(
  { delayMs = 0, bytesPerSecond = Number.POSITIVE_INFINITY }: ByteProxyOptions,
  to: Socket,
  flows: () => boolean,
) {
  const most = BUFFER_BYTES + Math.min(bytesPerSecond * (delayMs / 1000), Number.MAX_SAFE_INTEGER);
  const under: { atMs: number; data: Buffer | string }[] = [];
  let freeAtMs = 0;
  let bytes = 0;
  let full = false;
  const arrive = (from: Socket) => {
    for (let first = under[0]; first && first.atMs <= performance.now(); first = under[0]) {
      under.shift();
      bytes -= first.data.length;
      to.write(first.data);
    }
    if (full && bytes <= most) {
      full = false;
      if (flows()) from.resume();
    }
    if (under.length > 0) setTimeout(() => arrive(from), Math.max(1, under[0]!.atMs - performance.now()));
  };
  return (from: Socket, data: Buffer | string) => {
    if (delayMs === 0 && bytesPerSecond === Number.POSITIVE_INFINITY) return void to.write(data);
    const now = performance.now();
    freeAtMs = Math.max(now, freeAtMs) + (data.length / bytesPerSecond) * 1000;
    under.push({ atMs: freeAtMs + delayMs, data });
    bytes += data.length;
    if (bytes > most) {
      full = true;
      from.pause();
    }
    if (under.length === 1) setTimeout(() => arrive(from), delayMs);
  };
}
