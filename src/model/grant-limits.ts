import type { Endpoint } from "./grant.ts";

/** What `asked` and a list of allowed things have in common: all of it, the allowed parts of it, or nothing. */
export function meet<T>(asked: T, allowed: T[], both: (asked: T, allowed: T) => T | null): T[] {
  const common = allowed.flatMap((each) => both(asked, each) ?? []);
  return common.some((each) => each === asked) ? [asked] : common;
}

/** True when every text that `narrow` matches is matched by `wide`; `*` stands for any text. */
export function coversName(wide: string, narrow: string): boolean {
  // A `*` of the narrow pattern is only ever taken by a `*` of the wide one, which takes all that it stands for.
  const parts = wide.split("*");
  const [first, last] = [parts[0]!, parts.at(-1)!];
  if (parts.length === 1) return wide === narrow;
  if (narrow.length < first.length + last.length) return false;
  if (!narrow.startsWith(first) || !narrow.endsWith(last)) return false;
  let at = first.length;
  const end = narrow.length - last.length;
  for (const part of parts.slice(1, -1)) {
    const found = narrow.indexOf(part, at);
    if (found < 0 || found + part.length > end) return false;
    at = found + part.length;
  }
  return true;
}

export function meetNames(asked: string, allowed: string): string | null {
  if (coversName(allowed, asked)) return asked;
  return coversName(asked, allowed) ? allowed : null;
}

/** Operations that can do without an object, and then mean every one. */
const WITHOUT_OBJECT = new Set(["journal.read", "packages.upgrade"]);
const UNIT_SUFFIX = /\.(service|socket|timer|target|path|mount|automount|slice|scope|device|swap)$/;

/** Both as `operation:object` with `*` in the object; `nginx` is `nginx.service` where a unit is meant. */
export function meetOperations(asked: string, allowed: string): string | null {
  if (coversOperation(allowed, asked)) return asked;
  return coversOperation(asked, allowed) ? allowed : null;
}

function coversOperation(wide: string, narrow: string): boolean {
  const [wideName, wideObject] = splitOperation(wide);
  const [name, object] = splitOperation(narrow);
  return wideName === name && coversName(wideObject, object);
}

function splitOperation(text: string): [name: string, object: string] {
  const colon = text.indexOf(":");
  if (colon < 0) return [text, WITHOUT_OBJECT.has(text) ? "*" : ""];
  const [name, object] = [text.slice(0, colon), text.slice(colon + 1)];
  const isUnit = name.startsWith("systemd.") || name === "journal.read";
  return [name, isUnit && !object.includes("*") && !UNIT_SUFFIX.test(object) ? `${object}.service` : object];
}

/** Reads `host:port`, `[address]:port` or `*`; the text has passed `isEndpoint`. */
export function parseEndpoint(text: string): Endpoint {
  if (text === "*") return { host: "*", port: null };
  const colon = text.lastIndexOf(":");
  const [host, port] = [text.slice(0, colon), text.slice(colon + 1)];
  const bare = host.startsWith("[") ? host.slice(1, -1) : host.replace(/\.$/, "");
  return { host: bare.toLowerCase(), port: port === "*" ? null : Number(port) };
}

/** The destinations that both allow, or null. `asked` itself when it is allowed as a whole. */
export function meetEndpoints(asked: Endpoint, allowed: Endpoint): Endpoint | null {
  const host = coversHost(allowed.host, asked.host)
    ? asked.host
    : coversHost(asked.host, allowed.host)
      ? allowed.host
      : null;
  const port = allowed.port === null ? asked.port : asked.port === null ? allowed.port : asked.port;
  if (host === null || (asked.port !== null && allowed.port !== null && asked.port !== allowed.port))
    return null;
  return host === asked.host && port === asked.port ? asked : { host, port };
}

/** `*` is every host; `*.example.org` every name below example.org, and not that name itself. */
export function coversHost(wide: string, narrow: string): boolean {
  if (wide === "*" || wide === narrow) return true;
  return wide.startsWith("*.") && narrow.endsWith(wide.slice(1)) && narrow.length > wide.length - 1;
}
