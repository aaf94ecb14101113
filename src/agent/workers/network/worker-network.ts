import { existsSync, realpathSync } from "node:fs";
import { chmod, writeFile } from "node:fs/promises";
import type { Socket } from "node:net";
import { join } from "node:path";
import { HoldfastError } from "../../../core/errors.ts";
import type { Grant } from "../../../model/grant.ts";
import type { KernelFacts } from "../sandbox/kernel-facts.ts";
import type { NetPolicy } from "../sandbox/launch-policy.ts";
import type { Broker } from "./broker.ts";
import { type ChannelNetwork, channelNetwork } from "./channel-network.ts";
import { Connections } from "./connections.ts";
import { HttpProxy, openLoopbackProxy, proxyEnvironment } from "./loopback-proxy.ts";
import { relayNamespace } from "./namespace-relay.ts";
import { CHANNEL_NETWORK_VARIABLE } from "./net-frame.ts";
import { namespaceProxyPort, netPolicyOf, type NetworkWay, networkWay } from "./network-way.ts";
import type { HandedSockets } from "./take-sockets.ts";
import { unixEnvironment, unixPathOf, unixPlaces } from "./unix-relay.ts";

export type { HandedSockets } from "./take-sockets.ts";

export interface WorkerNetworkOptions {
  grant: Grant;
  kernel: KernelFacts;
  broker: Broker;
  /** The worker's own folder. */
  folder: string;
  kind: "host" | "script";
  /** What was refused, like `network example.org:443`. */
  onDenied: (what: string) => void;
}

/** The agent's side of one worker's network. */
export interface WorkerNetwork {
  way: NetworkWay;
  /** For the launch policy. */
  launch: { net?: NetPolicy; proxyPort?: number; replaced?: { path: string; by: string }[] };
  env: Record<string, string>;
  /** Stage 1 hands over sockets, and goes on when `adopt` has resolved. */
  awaitsSockets: boolean;
  adopt(pid: number, sockets: HandedSockets): Promise<void>;
  /** Takes the frames `net_…` of its channel; null where it has none to send. */
  channel: ChannelNetwork | null;
  close(): Promise<void>;
}

export async function openWorkerNetwork(options: WorkerNetworkOptions): Promise<WorkerNetwork> {
  const way = networkWay(options.grant, options.kernel);
  if (way === "namespace") return await namespaceNetwork(options);
  if (way === "proxy") return await proxyNetwork(options);
  // A script has no SDK that could speak for it.
  if (way === "sdk" && options.kind === "host") return sdkNetwork(options);
  return {
    way,
    launch: {},
    env: {},
    awaitsSockets: false,
    adopt: adoptNothing,
    channel: null,
    close: async () => {},
  };
}

function sdkNetwork(options: WorkerNetworkOptions): WorkerNetwork {
  const connections = new Connections({ log: options.broker.log, onDenied: options.onDenied });
  const channel = channelNetwork(connections, openerOf(options));
  return {
    way: "sdk",
    launch: {},
    env: { [CHANNEL_NETWORK_VARIABLE]: "1", ...unixEnvironment(unixPlaces(options.grant.unix)) },
    awaitsSockets: false,
    adopt: adoptNothing,
    channel,
    close: async () => channel.close(),
  };
}

/** Opens what a worker asks for by name or address: a granted host, or a granted unix socket by its name. */
function openerOf({ grant, broker }: WorkerNetworkOptions): (host: string, port: number) => Promise<Socket> {
  const places = unixPlaces(grant.unix);
  return (host, port) => {
    const path = unixPathOf(places, host, port);
    return path === undefined
      ? broker.connect({ endpoints: grant.connect, host, port })
      : broker.connectUnix(path);
  };
}

async function namespaceNetwork(options: WorkerNetworkOptions): Promise<WorkerNetwork> {
  const { grant, kernel, broker, folder, onDenied } = options;
  const net = netPolicyOf(grant);
  const proxyPort = namespaceProxyPort(grant);
  let adopted = false;
  let closed = false;
  let closeRelay = () => {};
  return {
    way: "namespace",
    launch: { net, ...(kernel.mountNamespace ? { replaced: await writeResolverFiles(folder) } : {}) },
    env: {
      ...(proxyPort === null ? {} : proxyEnvironment(proxyPort, null)),
      ...unixEnvironment(unixPlaces(grant.unix)),
    },
    awaitsSockets: true,
    async adopt(pid, handed) {
      if (adopted) throw new HoldfastError("invalid", "the worker's sockets came twice");
      adopted = true;
      requireAsked(net, handed);
      const sockets = broker.taker().take(pid, handed);
      const relay = await relayNamespace({ grant, sockets, broker, onDenied });
      // The worker may be gone by now, and its network closed.
      if (closed) relay.close();
      else closeRelay = () => relay.close();
    },
    channel: null,
    async close() {
      closed = true;
      closeRelay();
    },
  };
}

async function proxyNetwork(options: WorkerNetworkOptions): Promise<WorkerNetwork> {
  const { grant, broker, onDenied } = options;
  const credential = broker.credential();
  const connections = new Connections({ log: broker.log, onDenied });
  const proxy = new HttpProxy({ clock: broker.clock, connections, credential, open: openerOf(options) });
  const server = await openLoopbackProxy(proxy, { clock: broker.clock, taker: broker.taker() });
  const forget = broker.addListener({ host: "127.0.0.1", port: server.port });
  return {
    way: "proxy",
    launch: { proxyPort: server.port },
    env: { ...proxyEnvironment(server.port, credential), ...unixEnvironment(unixPlaces(grant.unix)) },
    awaitsSockets: false,
    adopt: adoptNothing,
    channel: null,
    async close() {
      server.close();
      connections.close();
      forget();
    },
  };
}

async function adoptNothing(): Promise<void> {
  throw new HoldfastError("invalid", "the worker has no sockets to hand over");
}

/** Stage 1 is ours, but what comes over the channel is looked at all the same. */
function requireAsked(net: NetPolicy, handed: HandedSockets): void {
  const ports = (sockets: { port: number }[]) => sockets.map(({ port }) => port).toSorted((a, b) => a - b);
  const same = (asked: number[], got: number[]) =>
    asked.length === got.length && asked.every((port, at) => port === got[at]);
  if (same(net.tcp, ports(handed.tcp)) && same(net.udp, ports(handed.udp))) return;
  throw new HoldfastError("invalid", "the worker's sockets are not those that were asked for");
}

/**
 * The resolver asks an address that leads to the agent, without the search list of the host, and its hosts file is not
 * the host's: names must come to the agent as names.
 */
async function writeResolverFiles(folder: string): Promise<{ path: string; by: string }[]> {
  const files = {
    "/etc/resolv.conf": "nameserver 127.0.0.1\noptions ndots:1\n",
    "/etc/hosts": "127.0.0.1 localhost\n::1 localhost\n",
  };
  const replaced: { path: string; by: string }[] = [];
  for (const [path, text] of Object.entries(files)) {
    if (!existsSync(path)) continue;
    const by = join(folder, `.${path.split("/").at(-1)}`);
    await writeFile(by, text);
    // Whatever the agent's umask is: the worker may have a user of its own.
    await chmod(by, 0o644);
    replaced.push({ path: realpathSync(path), by });
  }
  return replaced;
}
