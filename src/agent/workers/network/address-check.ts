import { type Address, isFour, parseAddress, sameAddress } from "./address.ts";

export const ADDRESS_CLASSES = [
  "public",
  "private",
  "loopback",
  "link-local",
  "unspecified",
  "multicast",
  "reserved",
] as const;
export type AddressClass = (typeof ADDRESS_CLASSES)[number];

/**
 * How far a grant goes. `public`: a pattern or `*`. `private`: an exact name with its port may also be a host of the local
 * network. `loopback`: the exact name `localhost`. `exact`: this address is written in the grant.
 */
export type Reach = "public" | "private" | "loopback" | "exact";

const ALLOWED: Record<Reach, AddressClass[]> = {
  public: ["public"],
  private: ["public", "private"],
  loopback: ["loopback"],
  exact: ["public", "private", "loopback", "link-local", "multicast"],
};

/** A place where this process listens. `host` may be 0.0.0.0 or ::, which are all addresses of the host. */
export interface Listener {
  host: string;
  port: number;
}

export interface AddressCheck {
  reach: Reach;
  port: number;
  /** The agent's own listeners: nobody gets there, whatever is granted. */
  own: Listener[];
  /** Addresses of the host's interfaces. */
  local: Address[];
}

/** Why this address may not be dialled, in words; null when it may. */
export function refusalOf(address: Address, check: AddressCheck): string | null {
  const meant = meantAddress(address);
  if (check.own.some((listener) => isOwn(meant, listener, check))) return "the agent itself listens there";
  const found = classOf(address);
  if (ALLOWED[check.reach].includes(found)) return null;
  return `its address is ${found === "unspecified" ? "no address of a host" : found}`;
}

/** What kind of address it is. One that carries an IPv4 address (NAT64, 6to4, Teredo …) is of that address's kind. */
export function classOf(address: Address): AddressClass {
  const meant = meantAddress(address);
  return isFour(meant) ? classOfFour(meant.bytes) : classOfSix(meant.bytes);
}

function isOwn(address: Address, listener: Listener, { port, local }: AddressCheck): boolean {
  if (listener.port !== port) return false;
  const bound = listener.host === "localhost" ? null : parseAddress(listener.host);
  if (bound && classOf(bound) !== "unspecified") return sameAddress(bound, address);
  const found = classOf(address);
  if (found === "loopback" || found === "unspecified") return true;
  return bound !== null && local.some((each) => sameAddress(each, address));
}

/** The IPv4 address inside an IPv6 address of a way of transition; else the address itself. */
function meantAddress(address: Address): Address {
  if (isFour(address)) return address;
  const at = embeddedAt(address.bytes);
  if (at === null) return address;
  const inner = address.bytes.slice(at, at + 4);
  return { bytes: isTeredo(address.bytes) ? inner.map((byte) => byte ^ 255) : inner };
}

function embeddedAt(bytes: Uint8Array): number | null {
  // NAT64 (RFC 6052); its prefix for local use (RFC 8215) is reserved as a whole.
  if (startsWith(bytes, [0x00, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0])) return 12;
  if (startsWith(bytes, [0x20, 0x02])) return 2;
  if (isTeredo(bytes)) return 12;
  // IPv4-translated (RFC 2765).
  if (startsWith(bytes, [0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0])) return 12;
  // ISATAP: an interface id of 0:5efe or 200:5efe before the address.
  if ((bytes[8]! & 0xfd) === 0 && bytes[9] === 0 && bytes[10] === 0x5e && bytes[11] === 0xfe) return 12;
  // IPv4-compatible; not :: and ::1.
  const low = (bytes[12]! << 24) | (bytes[13]! << 16) | (bytes[14]! << 8) | bytes[15]!;
  return startsWith(bytes, Array<number>(12).fill(0)) && low !== 0 && low !== 1 ? 12 : null;
}

function isTeredo(bytes: Uint8Array): boolean {
  return startsWith(bytes, [0x20, 0x01, 0, 0]);
}

function classOfFour([a = 0, b = 0, c = 0]: Uint8Array): AddressClass {
  if (a === 0) return "unspecified";
  if (a === 127) return "loopback";
  if (a === 169 && b === 254) return "link-local";
  if (a === 10 || (a === 172 && b >= 16 && b < 32) || (a === 192 && b === 168)) return "private";
  // Shared by customers of a provider, and by overlay networks.
  if (a === 100 && b >= 64 && b < 128) return "private";
  if (a >= 224 && a < 240) return "multicast";
  // 198.18.0.0/15 is for benchmarks, and what our own workers get for names.
  const reserved = a >= 240 || (a === 198 && (b === 18 || b === 19)) || (a === 192 && b === 0 && c === 0);
  return reserved ? "reserved" : "public";
}

function classOfSix(bytes: Uint8Array): AddressClass {
  const [a = 0, b = 0] = bytes;
  if (startsWith(bytes, Array<number>(15).fill(0))) return bytes[15] === 1 ? "loopback" : "unspecified";
  if (a === 0xfe && (b & 0xc0) === 0x80) return "link-local";
  // fc00::/7, and the site-local addresses from before it.
  if ((a & 0xfe) === 0xfc || (a === 0xfe && (b & 0xc0) === 0xc0)) return "private";
  if (a === 0xff) return "multicast";
  return (a & 0xe0) === 0x20 ? "public" : "reserved";
}

function startsWith(bytes: Uint8Array, prefix: number[]): boolean {
  return prefix.every((byte, at) => bytes[at] === byte);
}
