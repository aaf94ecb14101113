import { lookup } from "node:dns/promises";
import { connect as connectSocket, type Socket } from "node:net";
import { networkInterfaces } from "node:os";
import type { Clock } from "../../../core/clock.ts";
import { HoldfastError, messageOf } from "../../../core/errors.ts";
import type { Ids } from "../../../core/ids.ts";
import type { Logger } from "../../../core/logger.ts";
import type { Endpoint } from "../../../model/grant.ts";
import { type Address, formatAddress, formatHostPort, parseAddress } from "./address.ts";
import { type Listener, refusalOf } from "./address-check.ts";
import { matching, reachAt, readDestination } from "./endpoint-match.ts";
import { openSocketTaker, type SocketTaker } from "./take-sockets.ts";

export interface BrokerOptions {
  clock: Clock;
  ids: Ids;
  log: Logger;
  /** Where this process listens by now: health port, hub ports. */
  ownListeners: () => Listener[];
  /** Addresses of a name; the host's resolver, with its hosts file, when absent. */
  resolve?: (name: string) => Promise<string[]>;
  /** Starts to connect to a checked address. */
  dial?: (address: string, port: number) => Socket;
  timeoutMs?: number;
}

export interface Wish {
  /** TCP or UDP endpoints of the worker's grant. */
  endpoints: Endpoint[];
  host: string;
  port: number;
}

/** Makes connections for workers: only to what is granted, and only to an address that was checked. */
export interface Broker {
  /** Throws `denied` (`denied: network host:port`, the reason in `details`), `unreachable` or `timed_out`. */
  connect(wish: Wish): Promise<Socket>;
  /** Connects to a unix socket of the host. */
  connectUnix(path: string): Promise<Socket>;
  /** Addresses that may be used for this wish, best first; at least one. Throws as `connect` does. */
  addresses(wish: Wish): Promise<string[]>;
  /** Adds a listener of the agent's own; the returned function takes it off again. */
  addListener(listener: Listener): () => void;
  /** A fresh password. */
  credential(): string;
  /** Takes sockets out of a process that stage 1 still holds. */
  taker(): SocketTaker;
  clock: Clock;
  log: Logger;
}

const TIMEOUT_MS = 10_000;
/** One name may have many addresses; the first few are tried within the one time-out. */
const MAX_TRIES = 4;

export function createBroker(options: BrokerOptions): Broker {
  const { clock, ids, log, resolve = resolveByHost, dial = dialAddress, timeoutMs = TIMEOUT_MS } = options;
  const added = new Set<Listener>();
  let taker: SocketTaker | undefined;

  const checkedAddresses = async ({ endpoints, host, port }: Wish): Promise<string[]> => {
    const to = readDestination(host);
    if (!to) throw denied(host, port, "that is no host name");
    const granted = matching(endpoints, to, port);
    if (granted.length === 0) throw denied(host, port, "it is not granted");
    // Resolved once: what is checked here is what is dialled, whatever the name means a moment later.
    const found =
      to.address && !isLocalhost(granted)
        ? [to.address]
        : await resolved(isLocalhost(granted) ? "localhost" : to.host, port);
    const own = [...options.ownListeners(), ...added];
    const local = localAddresses();
    const refusals = found.map((address) => {
      // Beside the endpoint that names it, one with this very address counts.
      const reach = reachAt(
        [...granted, ...endpoints.filter((each) => parseAddress(each.host))],
        address,
        port,
      );
      return refusalOf(address, { reach: reach ?? "public", port, own, local });
    });
    const allowed = found.filter((_, at) => refusals[at] === null).map(formatAddress);
    if (allowed.length > 0) return allowed;
    throw denied(host, port, refusals[0] ?? "its name has no address");
  };

  const resolved = async (name: string, port: number): Promise<Address[]> => {
    if (name === "localhost") return LOCALHOST;
    const what = `network ${formatHostPort(name, port)}`;
    const texts = await within(
      clock,
      timeoutMs,
      what,
      resolve(name).catch((error: unknown) => {
        throw new HoldfastError("unreachable", `${what}: the name cannot be resolved: ${messageOf(error)}`);
      }),
    );
    return texts.map(parseAddress).filter((address) => address !== null);
  };

  return {
    clock,
    log,
    addresses: checkedAddresses,
    async connect(wish) {
      const addresses = await checkedAddresses(wish);
      const signal = new AbortController();
      const cancel = clock.after(timeoutMs, () => signal.abort());
      try {
        return await dialFirst(dial, addresses.slice(0, MAX_TRIES), wish, signal.signal);
      } finally {
        cancel();
      }
    },
    async connectUnix(path) {
      const signal = new AbortController();
      const cancel = clock.after(timeoutMs, () => signal.abort());
      return await opened(
        connectSocket({ path, allowHalfOpen: true }),
        `unix ${path}`,
        signal.signal,
      ).finally(cancel);
    },
    addListener(listener) {
      added.add(listener);
      return () => added.delete(listener);
    },
    credential: () => ids.hex(16),
    taker: () => (taker ??= openSocketTaker()),
  };
}

const LOCALHOST = ["127.0.0.1", "::1"].map((text) => parseAddress(text)!);

/** All of the loopback that was granted was granted by this name: both of its addresses are tried. */
function isLocalhost(granted: Endpoint[]): boolean {
  return granted.every((endpoint) => endpoint.host === "localhost");
}

type Dial = NonNullable<BrokerOptions["dial"]>;

function dialAddress(address: string, port: number): Socket {
  return connectSocket({ host: address, port, allowHalfOpen: true });
}

async function resolveByHost(name: string): Promise<string[]> {
  return (await lookup(name, { all: true })).map((entry) => entry.address);
}

function localAddresses(): Address[] {
  const entries = Object.values(networkInterfaces()).flatMap((each) => each ?? []);
  return entries.map((entry) => parseAddress(entry.address)).filter((address) => address !== null);
}

async function dialFirst(
  dial: Dial,
  addresses: string[],
  { host, port }: Wish,
  signal: AbortSignal,
): Promise<Socket> {
  const what = `network ${formatHostPort(host, port)}`;
  let last: unknown;
  for (const address of addresses) {
    try {
      return await opened(dial(address, port), what, signal);
    } catch (error) {
      last = error;
      if (signal.aborted) break;
    }
  }
  throw last;
}

/** The socket once it is connected; nothing of it is left when it is not. */
function opened(socket: Socket, what: string, signal: AbortSignal): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const fail = (error: HoldfastError) => {
      socket.destroy();
      reject(error);
    };
    const onAbort = () => fail(new HoldfastError("timed_out", `${what}: no answer in time`));
    const onError = (error: Error) =>
      fail(
        new HoldfastError("unreachable", `${what}: cannot be reached: ${messageOf(error)}`, { cause: error }),
      );
    signal.addEventListener("abort", onAbort, { once: true });
    // Stays, so that an error between here and whoever takes the socket is never thrown.
    socket.on("error", onError);
    socket.once("connect", () => {
      signal.removeEventListener("abort", onAbort);
      resolve(socket.pause());
    });
  });
}

/** Rejects with `timed_out` when it takes too long; what comes later is dropped. */
async function within<T>(clock: Clock, ms: number, what: string, work: Promise<T>): Promise<T> {
  const late = Promise.withResolvers<never>();
  const cancel = clock.after(ms, () =>
    late.reject(new HoldfastError("timed_out", `${what}: no answer in time`)),
  );
  try {
    return await Promise.race([work, late.promise]);
  } finally {
    cancel();
  }
}

function denied(host: string, port: number, reason: string): HoldfastError {
  return new HoldfastError("denied", `denied: network ${formatHostPort(host, port)}`, {
    details: { reason },
  });
}
