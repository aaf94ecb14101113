import { HoldfastError } from "../core/errors.ts";

export interface HubAddress {
  /** Name or IP, without brackets. */
  host: string;
  port: number;
  /** `host:port` as people write it. */
  text: string;
}

export const DEFAULT_SYNC_PORT = 8443;

/** `grpcs://hub.example:8443`, `grpcs://[::1]:8443` → host and port. Throws `usage` for anything else. */
export function parseHubUrl(url: string): HubAddress {
  const match = /^grpcs:\/\/(?:\[([0-9a-fA-F:.]+)\]|([A-Za-z0-9._-]+))(?::(\d{1,5}))?\/?$/.exec(url);
  const port = match?.[3] === undefined ? DEFAULT_SYNC_PORT : Number(match[3]);
  if (!match || port < 1 || port > 65535) {
    throw new HoldfastError(
      "usage",
      `"${url}" is not a hub's address: write grpcs://HOST:PORT, like grpcs://hub.example:8443`,
    );
  }
  const host = match[1] ?? match[2]!;
  return { host, port, text: `${host.includes(":") ? `[${host}]` : host}:${port}` };
}

export interface BrokerAddress extends HubAddress {
  tls: boolean;
}

/** `mqtts://broker.example:8883` or `mqtt://10.0.0.7` → where the broker is. Throws `usage` for anything else. */
export function parseBrokerUrl(url: string): BrokerAddress {
  const match = /^(mqtts?):\/\/(?:\[([0-9a-fA-F:.]+)\]|([A-Za-z0-9._-]+))(?::(\d{1,5}))?\/?$/.exec(url);
  const tls = match?.[1] === "mqtts";
  const port = match?.[4] === undefined ? (tls ? 8883 : 1883) : Number(match[4]);
  if (!match || port < 1 || port > 65535) {
    throw new HoldfastError(
      "usage",
      `"${url}" is not a broker's address: write mqtts://HOST:PORT, like mqtts://broker.example:8883`,
    );
  }
  const host = match[2] ?? match[3]!;
  return { host, port, text: `${host.includes(":") ? `[${host}]` : host}:${port}`, tls };
}
