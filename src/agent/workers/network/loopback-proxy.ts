import { timingSafeEqual } from "node:crypto";
import type { Socket } from "node:net";
import type { Clock } from "../../../core/clock.ts";
import { HoldfastError, messageOf } from "../../../core/errors.ts";
import { adoptListeners } from "./adopted-listener.ts";
import type { Connections } from "./connections.ts";
import { parseProxyRequest, type ProxyRequest } from "./http-proxy-head.ts";
import type { SocketTaker } from "./take-sockets.ts";

export interface HttpProxyOptions {
  clock: Clock;
  connections: Connections;
  /** Opens what the client asks for, after the check of the grant. */
  open: (host: string, port: number) => Promise<Socket>;
  /** The password of this worker; null where nobody else can reach the port. */
  credential: string | null;
}

const USER = "holdfast";
const MAX_HEAD_BYTES = 32 * 1024;
const HEAD_MS = 10_000;
/** For a refused client to read why. */
const LINGER_MS = 2_000;

/** An HTTP proxy for one worker: CONNECT, and requests in absolute form. */
export class HttpProxy {
  readonly #options: HttpProxyOptions;

  constructor(options: HttpProxyOptions) {
    this.#options = options;
  }

  /** Serves an accepted, paused connection. */
  serve(client: Socket): void {
    if (!this.#options.connections.admit(client)) return;
    let seen: Buffer = Buffer.alloc(0);
    const cancel = this.#options.clock.after(HEAD_MS, () => client.destroy());
    const stop = () => {
      cancel();
      client.off("data", onData).off("end", onEnd).pause();
    };
    const onEnd = () => client.destroy();
    const onData = (chunk: Buffer) => {
      seen = seen.length === 0 ? chunk : Buffer.concat([seen, chunk]);
      const end = seen.indexOf("\r\n\r\n");
      if (end === -1 && seen.length <= MAX_HEAD_BYTES) return;
      stop();
      if (end === -1 || end > MAX_HEAD_BYTES)
        return this.#answer(client, "431 Request Header Fields Too Large", "");
      this.#handle(client, seen.toString("latin1", 0, end), seen.subarray(end + 4));
    };
    client.once("close", cancel);
    client.on("data", onData).on("end", onEnd).resume();
  }

  #handle(client: Socket, text: string, rest: Buffer): void {
    const request = parseProxyRequest(text);
    if (!request)
      return this.#answer(client, "400 Bad Request", "a request in absolute form, or CONNECT host:port");
    if (!this.#isKnown(request)) {
      return this.#answer(client, "407 Proxy Authentication Required", "the worker's own credential", [
        'Proxy-Authenticate: Basic realm="holdfast"',
      ]);
    }
    const { kind, host, port, head } = request;
    const ahead = kind === "tunnel" ? rest : Buffer.concat([Buffer.from(head, "latin1"), rest]);
    void this.#options.connections.join(client, () => this.#options.open(host, port), {
      first: ahead,
      ...(kind === "tunnel" ? { greeting: "HTTP/1.1 200 Connection Established\r\n\r\n" } : {}),
      refuse: (_client, error) => this.#answer(client, statusOf(error), messageOf(error)),
    });
  }

  #isKnown({ basic }: ProxyRequest): boolean {
    const { credential } = this.#options;
    if (credential === null) return true;
    const [given, wanted] = [basic ?? "", basicOf(credential)].map((text) => Buffer.from(text, "latin1"));
    return given!.length === wanted!.length && timingSafeEqual(given!, wanted!);
  }

  #answer(client: Socket, status: string, body: string, headers: string[] = []): void {
    const text = body === "" ? "" : `${body}\n`;
    const lines = [
      `HTTP/1.1 ${status}`,
      "Content-Type: text/plain; charset=utf-8",
      `Content-Length: ${Buffer.byteLength(text)}`,
      "Connection: close",
      ...headers,
    ];
    client.end(`${lines.join("\r\n")}\r\n\r\n${text}`);
    // What it still sends is read and dropped: closing over unread bytes would take the answer away from it.
    client.resume();
    client.once(
      "close",
      this.#options.clock.after(LINGER_MS, () => client.destroy()),
    );
  }
}

export interface LoopbackProxy {
  port: number;
  close(): void;
}

/** Opens a port of the loopback for this proxy. */
export async function openLoopbackProxy(
  proxy: HttpProxy,
  { clock, taker }: { clock: Clock; taker: SocketTaker },
): Promise<LoopbackProxy> {
  const socket = taker.listenOnLoopback();
  const listener = await adoptListeners([socket], { clock, taker, accept: (client) => proxy.serve(client) });
  return { port: socket.port, close: () => listener.close() };
}

/** What programs read to find their proxy; curl knows the small letters only. */
export function proxyEnvironment(port: number, credential: string | null): Record<string, string> {
  const url = `http://${credential === null ? "" : `${USER}:${credential}@`}127.0.0.1:${port}`;
  const names = ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"].flatMap((name) => [name, name.toLowerCase()]);
  return { ...Object.fromEntries(names.map((name) => [name, url])), NO_PROXY: "", no_proxy: "" };
}

function basicOf(credential: string): string {
  return Buffer.from(`${USER}:${credential}`).toString("base64");
}

function statusOf(error: unknown): string {
  const code = error instanceof HoldfastError ? error.code : "failed";
  if (code === "denied") return "403 Forbidden";
  return code === "timed_out" ? "504 Gateway Timeout" : "502 Bad Gateway";
}
