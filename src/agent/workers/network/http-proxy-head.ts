import { domainToASCII } from "node:url";

/** What a client wants of an HTTP proxy. */
export interface ProxyRequest {
  kind: "tunnel" | "forward";
  host: string;
  port: number;
  /** Credentials as they were sent, without the scheme; null without any. */
  basic: string | null;
  /** For `forward`: the head to send on. */
  head: string;
}

/** Of the connection to the proxy; not the origin's business. */
const DROPPED = new Set([
  "connection",
  "keep-alive",
  "proxy-connection",
  "proxy-authorization",
  "proxy-authenticate",
  "te",
  "upgrade",
  "host",
]);

/** Reads the head of a request, without the empty line at its end. Null when it is no request to a proxy. */
export function parseProxyRequest(text: string): ProxyRequest | null {
  const [first = "", ...lines] = text.split("\r\n");
  const start = /^([A-Z]{1,32}) (\S{1,8192}) HTTP\/1\.[01]$/.exec(first);
  const headers = lines.map((line) => /^([!#$%&'*+.^_`|~\w-]+):[ \t]*(.*)$/.exec(line));
  if (!start || headers.some((header) => header === null)) return null;
  const pairs = headers.map((header) => ({ name: header![1]!, value: header![2]!.trimEnd() }));
  const authorization = pairs.find(({ name }) => name.toLowerCase() === "proxy-authorization")?.value;
  const basic = /^basic +([A-Za-z0-9+/=]+)$/i.exec(authorization ?? "")?.[1] ?? null;
  const [, method, target] = start;
  if (method === "CONNECT") {
    const place = parseAuthority(target!, null);
    return place && { kind: "tunnel", ...place, basic, head: "" };
  }
  const absolute = /^http:\/\/([^/?#@]+)([/?][^#]*)?$/i.exec(target!);
  const place = absolute && parseAuthority(absolute[1]!, 80);
  if (!place) return null;
  const path = absolute[2] ?? "/";
  const kept = pairs.filter(({ name }) => !DROPPED.has(name.toLowerCase()));
  const head = [
    `${method} ${path.startsWith("/") ? path : `/${path}`} HTTP/1.1`,
    `Host: ${absolute[1]}`,
    ...kept.map(({ name, value }) => `${name}: ${value}`),
    // One request a connection: the next one may be for somebody else.
    "Connection: close",
  ];
  return { kind: "forward", ...place, basic, head: `${head.join("\r\n")}\r\n\r\n` };
}

/** `host:port`, `[::1]:port`; the port may be missing where there is a usual one. */
function parseAuthority(text: string, usual: number | null): { host: string; port: number } | null {
  const match = /^(\[[0-9a-fA-F:.%\w]+\]|[^:[\]\s]+)(?::(\d{1,5}))?$/.exec(text);
  if (!match) return null;
  const port = match[2] === undefined ? usual : Number(match[2]);
  if (port === null || port < 1 || port > 65_535) return null;
  const host = match[1]!.startsWith("[") ? match[1]!.slice(1, -1) : domainToASCII(match[1]!) || match[1]!;
  return { host, port };
}
