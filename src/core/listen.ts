import { HoldfastError, messageOf, systemCode } from "./errors.ts";
import { portOwner } from "./port-owner.ts";

export interface ListenAddress {
  host: string;
  port: number;
}

/** `127.0.0.1:9110`, `[::1]:0` → host and port. */
export function parseListen(text: string): ListenAddress {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([\w.-]+)):(\d{1,5})$/.exec(text);
  const port = Number(match?.[3]);
  if (!match || port > 65535) {
    throw new HoldfastError(
      "usage",
      `"${text}" is not an address to listen on: write HOST:PORT, like 127.0.0.1:9110`,
    );
  }
  return { host: match[1] ?? match[2]!, port };
}

export function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || /^127(\.\d{1,3}){3}$/.test(host);
}

/** True when a request's Host header names this machine's loopback: a foreign one is a page that was rebound to us. */
export function isLoopbackHostHeader(header: string | null): boolean {
  if (header === null) return false;
  const host = /^\[(.+)\](?::\d+)?$/.exec(header)?.[1] ?? header.replace(/:\d+$/, "");
  return isLoopback(host.toLowerCase());
}

/** Why listening failed, for what, and who has the port if that can be seen. */
export function listenError(
  error: unknown,
  what: string,
  address: ListenAddress,
  setting: string,
): HoldfastError {
  const place = `${address.host}:${address.port}`;
  const inUse = systemCode(error) === "EADDRINUSE" || /in use|EADDRINUSE/i.test(messageOf(error));
  const owner = inUse ? portOwner(address.port) : undefined;
  const why = inUse ? `the port is in use${owner ? ` by ${owner}` : ""}` : messageOf(error);
  return new HoldfastError(
    "failed",
    `${what} cannot listen on ${place}: ${why}; choose another port with ${setting}`,
    { cause: error },
  );
}
