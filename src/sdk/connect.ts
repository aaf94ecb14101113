import type { Socket } from "node:net";
import type { Duplex } from "node:stream";

export interface ConnectOptions {
  /** A name or an address that the plugin was granted with this port. */
  host: string;
  port: number;
}

/** Under this name the plugin host leaves its own way to connect, where the worker may make no sockets. */
export const CONNECT_BY_HOST = Symbol.for("holdfast.connect");
type ConnectByHost = (host: string, port: number) => Promise<Duplex>;

/**
 * A TCP connection to a granted host, by whichever way this host's kernel allows: its own network, the agent's proxy, or the
 * channel to the agent. Rejects when it is denied or cannot be made. `node:tls` takes it as `socket`.
 */
export async function connect({ host, port }: ConnectOptions): Promise<Duplex> {
  const byHost = (globalThis as { [CONNECT_BY_HOST]?: ConnectByHost })[CONNECT_BY_HOST];
  if (byHost) return await byHost(host, port);
  const proxy = process.env.HTTPS_PROXY;
  return proxy ? await connectThrough(new URL(proxy), host, port) : await dialed(host, port);
}

async function dialed(host: string, port: number): Promise<Socket> {
  // Loaded when it is needed: most plugins never connect, and every worker would pay for it.
  const net = await import("node:net");
  return await new Promise((resolve, reject) => {
    const socket = net.connect({ host, port, allowHalfOpen: true });
    socket.once("error", reject);
    socket.once("connect", () => {
      socket.off("error", reject);
      resolve(socket);
    });
  });
}

async function connectThrough(proxy: URL, host: string, port: number): Promise<Duplex> {
  const socket = await dialed(proxy.hostname, Number(proxy.port));
  const place = `${host.includes(":") ? `[${host}]` : host}:${port}`;
  const user = Buffer.from(`${proxy.username}:${proxy.password}`).toString("base64");
  const credential = proxy.username === "" ? "" : `Proxy-Authorization: Basic ${user}\r\n`;
  socket.write(`CONNECT ${place} HTTP/1.1\r\nHost: ${place}\r\n${credential}\r\n`);
  return new Promise((resolve, reject) => {
    let seen: Buffer = Buffer.alloc(0);
    const stop = (error?: Error) => {
      socket.off("data", onData).off("end", onEnd).off("error", stop);
      if (!error) return resolve(socket);
      socket.on("error", () => {}).destroy();
      reject(error);
    };
    const answered = (end: number) => {
      const status = /^HTTP\/1\.[01] (\d{3})/.exec(seen.toString("latin1", 0, end))?.[1];
      if (status !== "200") return stop(refusal(seen.toString("utf8", end), place));
      socket.pause();
      const rest = seen.subarray(end);
      stop();
      if (rest.length > 0) socket.unshift(rest);
    };
    const onData = (chunk: Buffer) => {
      seen = Buffer.concat([seen, chunk]);
      const end = seen.indexOf("\r\n\r\n");
      // A refusal says why in its body, up to the end of the connection.
      if (end !== -1 && seen.toString("latin1", 0, 16).includes(" 200")) answered(end + 4);
    };
    const onEnd = () => answered(Math.max(0, seen.indexOf("\r\n\r\n") + 4));
    socket.on("data", onData).on("end", onEnd).on("error", stop);
  });
}

function refusal(body: string, place: string): Error {
  return new Error(body.trim() || `network ${place}: the agent's proxy refused`);
}
