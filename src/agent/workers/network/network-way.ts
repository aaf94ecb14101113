import type { Endpoint, Grant } from "../../../model/grant.ts";
import type { KernelFacts } from "../sandbox/kernel-facts.ts";
import type { NetPolicy } from "../sandbox/launch-policy.ts";

/**
 * How a worker gets to what it was granted. `namespace`: a network of its own in which every address leads to the agent.
 * `proxy`: one port of the loopback with an HTTP proxy of the agent. `sdk`: over its channel. `none`: it was granted nothing.
 */
export type NetworkWay = "none" | "namespace" | "proxy" | "sdk";

const DNS_PORT = 53;
const FIRST_PROXY_PORT = 3128;
const LANDLOCK_PORTS_ABI = 4;
/** A refused connect can be told with its port where somebody accepts it. */
const ALWAYS = [80, 443];
/** `host:*` cannot mean 65,535 sockets: these go without the proxy, all others through it. */
const USUAL = [21, 22, 25, 465, 587, 993, 3306, 5432, 6379, 8080, 8443, 8883];

export function networkWay(grant: Grant, kernel: KernelFacts): NetworkWay {
  if (grant.sandbox === "off") return "none";
  if (grant.connect.length + grant.udp.length + grant.unix.length === 0) return "none";
  // In a network of its own nobody could reach what it listens on, and every ping would be answered by itself.
  const needsHost = grant.listen.length > 0 || grant.icmp;
  if (kernel.netNamespace && !needsHost) return "namespace";
  return kernel.landlockAbi >= LANDLOCK_PORTS_ABI ? "proxy" : "sdk";
}

/** The sockets that stage 1 makes in the worker's network. */
export function netPolicyOf(grant: Grant): NetPolicy {
  const proxy = namespaceProxyPort(grant);
  const tcp = [...namespacePorts(grant), ...(proxy === null ? [] : [proxy])];
  return { tcp: sorted(tcp), udp: sorted([DNS_PORT, ...portsOf(grant.udp)]) };
}

/** Port of the proxy in the worker's own network: only a grant of all ports needs one. */
export function namespaceProxyPort(grant: Grant): number | null {
  if (grant.connect.every((endpoint) => endpoint.port !== null)) return null;
  const taken = new Set(namespacePorts(grant));
  let port = FIRST_PROXY_PORT;
  while (taken.has(port)) port++;
  return port;
}

function namespacePorts(grant: Grant): number[] {
  const everyPort = grant.connect.some((endpoint) => endpoint.port === null);
  return [...ALWAYS, ...portsOf(grant.connect), ...(everyPort ? USUAL : [])];
}

function portsOf(endpoints: Endpoint[]): number[] {
  return endpoints.map((endpoint) => endpoint.port).filter((port) => port !== null);
}

function sorted(ports: number[]): number[] {
  return [...new Set(ports)].toSorted((one, other) => one - other);
}
