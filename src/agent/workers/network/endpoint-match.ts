import type { Endpoint } from "../../../model/grant.ts";
import { type Address, parseAddress, sameAddress } from "./address.ts";
import { classOf, type Reach } from "./address-check.ts";

/** Where a worker wants to go: an address, or a name in lower case without a final dot. */
export interface Destination {
  /** The address if it is one. */
  address: Address | null;
  /** For resolving and for showing. */
  host: string;
}

/** Names as resolvers read them; null for what is no host name at all. */
export function readDestination(text: string): Destination | null {
  const address = parseAddress(text);
  if (address) return { address, host: text };
  const host = text.toLowerCase().replace(/\.$/, "");
  const valid =
    host.length <= 253 && /^[a-z0-9_](?:[a-z0-9_-]{0,62})(?:\.[a-z0-9_][a-z0-9_-]{0,62})*$/.test(host);
  return valid ? { address: null, host } : null;
}

/** Endpoints of a grant that name this destination, at this port or at any. */
export function matching(endpoints: Endpoint[], to: Destination, port: number | null): Endpoint[] {
  return endpoints.filter(
    (endpoint) =>
      (port === null || endpoint.port === null || endpoint.port === port) && namesHost(endpoint.host, to),
  );
}

/** How far the best of these endpoints goes at this address. Null: none of them goes anywhere. */
export function reachAt(endpoints: Endpoint[], address: Address, port: number): Reach | null {
  const literal = endpoints.some((endpoint) => {
    const granted = parseAddress(endpoint.host);
    return (
      granted !== null && sameAddress(granted, address) && (endpoint.port === null || endpoint.port === port)
    );
  });
  if (literal) return "exact";
  const reaches = endpoints.map((endpoint) => reachOf(endpoint, address));
  return RANKED.find((reach) => reaches.includes(reach)) ?? null;
}

const RANKED: Reach[] = ["exact", "loopback", "private", "public"];

function reachOf({ host, port }: Endpoint, address: Address): Reach | null {
  if (host === "localhost") return classOf(address) === "loopback" ? "loopback" : "public";
  // An address reaches itself and nothing else.
  if (parseAddress(host)) return null;
  const exact = !host.startsWith("*") && port !== null;
  return exact ? "private" : "public";
}

function namesHost(granted: string, { address, host }: Destination): boolean {
  if (granted === "*") return true;
  if (address) {
    // `localhost` is asked for by its address once the worker's own resolver knows it.
    if (granted === "localhost") return classOf(address) === "loopback";
    const literal = parseAddress(granted);
    return literal !== null && sameAddress(literal, address);
  }
  if (granted.startsWith("*.")) return host.endsWith(granted.slice(1)) && host.length >= granted.length;
  return granted.toLowerCase() === host;
}
