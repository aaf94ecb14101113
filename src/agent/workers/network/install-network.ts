import { CONNECT_BY_HOST } from "../../../sdk/connect.ts";
import type { NetFrame } from "./channel-stream.ts";
import { createFetch } from "./host-fetch.ts";
import { HostNetwork } from "./host-network.ts";

/** Lets `fetch` and the SDK's `connect` of this process go over its channel: it may make no sockets of its own. */
export function installChannelNetwork(send: (frame: NetFrame) => void): HostNetwork {
  const network = new HostNetwork(send);
  const connect = (host: string, port: number) => network.connect(host, port);
  const fetch = Object.assign(createFetch(connect), { preconnect: () => {} });
  Object.assign(globalThis, { fetch, [CONNECT_BY_HOST]: connect });
  return network;
}
