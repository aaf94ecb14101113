import { once } from "node:events";
import { Duplex, Readable } from "node:stream";
import { connect as startTls } from "node:tls";
import { createBrotliDecompress, createGunzip, createInflate } from "node:zlib";
import { HoldfastError } from "../../../core/errors.ts";
import { type ResponseHead, ResponseReader } from "./http-response.ts";

export type Connect = (host: string, port: number) => Promise<Duplex>;
type FetchInput = string | URL | Request;
/** What TLS takes beside what `fetch` of the web knows. */
type FetchInit = RequestInit & { tls?: { ca?: string | string[]; rejectUnauthorized?: boolean } };

const MAX_REDIRECTS = 20;
const REDIRECTS = [301, 302, 303, 307, 308];
/** Only where the request came from may see these. */
const OF_ONE_ORIGIN = ["authorization", "cookie", "proxy-authorization"];

interface Exchange {
  url: URL;
  method: string;
  headers: Headers;
  body: Buffer;
  signal: AbortSignal;
  tls: FetchInit["tls"];
}

/** A `fetch` over connections that are made by `connect`: HTTP/1.1, a connection for each request. */
export function createFetch(connect: Connect) {
  return async (input: FetchInput, init: FetchInit = {}): Promise<Response> => {
    const request = new Request(input as string, init);
    const headers = new Headers(request.headers);
    const body = Buffer.from(await request.arrayBuffer());
    const exchange: Exchange = {
      url: new URL(request.url),
      method: request.method,
      headers,
      body,
      signal: init.signal ?? request.signal,
      tls: init.tls,
    };
    for (let hop = 0; ; hop++) {
      const { head, reader, stream } = await send(exchange, connect);
      const location = REDIRECTS.includes(head.status) ? head.headers.get("location") : null;
      if (location === null || request.redirect === "manual") {
        return responseOf(head, reader, stream, exchange, hop > 0);
      }
      stream.destroy();
      if (request.redirect === "error") throw failed(exchange, "it was redirected");
      if (hop >= MAX_REDIRECTS) throw failed(exchange, `it was redirected more than ${MAX_REDIRECTS} times`);
      follow(exchange, head.status, new URL(location, exchange.url));
    }
  };
}

async function send(exchange: Exchange, connect: Connect) {
  const { url, signal } = exchange;
  if (url.protocol !== "http:" && url.protocol !== "https:")
    throw failed(exchange, "only http and https work here");
  signal.throwIfAborted();
  const secure = url.protocol === "https:";
  const host = url.hostname.replace(/^\[|\]$/g, "");
  const port = url.port === "" ? (secure ? 443 : 80) : Number(url.port);
  const plain = await unlessAborted(connect(host, port), signal);
  let stream = plain;
  const onAbort = () => stream.destroy(signal.reason instanceof Error ? signal.reason : undefined);
  signal.addEventListener("abort", onAbort, { once: true });
  plain.once("close", () => signal.removeEventListener("abort", onAbort));
  try {
    if (secure) stream = await secured(plain, host, exchange.tls);
    stream.on("error", () => {});
    stream.write(Buffer.concat([Buffer.from(headOf(exchange), "latin1"), exchange.body]));
    const reader = new ResponseReader(stream);
    return { head: await reader.head(), reader, stream };
  } catch (error) {
    stream.destroy();
    plain.destroy();
    throw signal.aborted ? signal.reason : error;
  }
}

/** An abort does not wait for a connection; one that comes all the same is closed. */
async function unlessAborted(connecting: Promise<Duplex>, signal: AbortSignal): Promise<Duplex> {
  const aborted = Promise.withResolvers<never>();
  const onAbort = () => aborted.reject(signal.reason);
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    return await Promise.race([connecting, aborted.promise]);
  } catch (error) {
    void connecting.then(
      (late) => late.destroy(),
      () => {},
    );
    throw error;
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}

async function secured(plain: Duplex, host: string, options: FetchInit["tls"]): Promise<Duplex> {
  const socket = startTls({
    socket: plain,
    // An address is no server name (RFC 6066).
    ...(/^[\d.]+$|:/.test(host) ? { host } : { servername: host }),
    ALPNProtocols: ["http/1.1"],
    ...options,
  });
  plain.once("error", (error) => socket.destroy(error));
  await once(socket, "secureConnect");
  return socket;
}

function headOf({ url, method, headers, body }: Exchange): string {
  const sent = new Headers(headers);
  sent.set("host", url.host);
  sent.set("connection", "close");
  if (!sent.has("accept")) sent.set("accept", "*/*");
  if (!sent.has("user-agent")) sent.set("user-agent", "holdfast-plugin");
  if (!sent.has("accept-encoding")) sent.set("accept-encoding", "gzip, deflate, br");
  sent.delete("transfer-encoding");
  if (body.length > 0 || !["GET", "HEAD"].includes(method)) sent.set("content-length", String(body.length));
  const lines = [...sent].map(([name, value]) => `${name}: ${value}\r\n`).join("");
  return `${method} ${url.pathname}${url.search} HTTP/1.1\r\n${lines}\r\n`;
}

function follow(exchange: Exchange, status: number, target: URL): void {
  const { method } = exchange;
  if ((status === 303 && method !== "HEAD") || (status <= 302 && method === "POST")) {
    exchange.method = "GET";
    exchange.body = Buffer.alloc(0);
    for (const name of ["content-type", "content-length", "content-encoding"]) exchange.headers.delete(name);
  }
  if (target.origin !== exchange.url.origin) for (const name of OF_ONE_ORIGIN) exchange.headers.delete(name);
  exchange.url = target;
}

function responseOf(
  head: ResponseHead,
  reader: ResponseReader,
  stream: Duplex,
  { url, method }: Exchange,
  redirected: boolean,
): Response {
  const pieces = (async function* () {
    try {
      yield* reader.body(head, method);
    } finally {
      stream.destroy();
    }
  })();
  const empty = method === "HEAD" || [101, 204, 205, 304].includes(head.status);
  if (empty) stream.destroy();
  const { status, statusText, headers } = head;
  const body = empty ? null : (Readable.toWeb(decoded(pieces, headers)) as unknown as ReadableStream);
  const response = new Response(body, { status, statusText, headers });
  Object.defineProperty(response, "url", { value: url.href });
  Object.defineProperty(response, "redirected", { value: redirected });
  return response;
}

function decoded(pieces: AsyncIterable<Buffer>, headers: Headers): Readable {
  const raw = Readable.from(pieces, { objectMode: false });
  const coding = headers.get("content-encoding")?.trim().toLowerCase();
  const decoder =
    coding === "gzip" || coding === "x-gzip"
      ? createGunzip()
      : coding === "deflate"
        ? createInflate()
        : coding === "br"
          ? createBrotliDecompress()
          : undefined;
  if (!decoder) return raw;
  headers.delete("content-encoding");
  headers.delete("content-length");
  raw.on("error", (error) => decoder.destroy(error));
  decoder.on("close", () => raw.destroy());
  return raw.pipe(decoder);
}

function failed({ method, url }: Exchange, why: string): HoldfastError {
  return new HoldfastError("failed", `fetch: ${method} ${url.href}: ${why}`);
}
