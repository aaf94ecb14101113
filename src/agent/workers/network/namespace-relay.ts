import type { Socket } from "node:net";
import type { Grant } from "../../../model/grant.ts";
import { adoptListeners } from "./adopted-listener.ts";
import { formatAddress, parseAddress } from "./address.ts";
import type { Broker } from "./broker.ts";
import { Connections } from "./connections.ts";
import { DnsResponder } from "./dns-responder.ts";
import { HttpProxy } from "./loopback-proxy.ts";
import { NameTable } from "./name-table.ts";
import { namespaceProxyPort } from "./network-way.ts";
import type { HandedSockets } from "./take-sockets.ts";
import { UdpRelay } from "./udp-relay.ts";
import { unixPathOf, unixPlaces } from "./unix-relay.ts";

export interface NamespaceOptions {
  grant: Grant;
  /** Descriptors of this process; they are closed with the relay, or when it cannot be made. */
  sockets: HandedSockets;
  broker: Broker;
  /** What was refused, like `network example.org:443`. */
  onDenied: (what: string) => void;
}

export interface NamespaceRelay {
  connections(): number;
  close(): void;
}

const DNS_PORT = 53;

/**
 * The agent's end of a network namespace in which every address is local: answers its look-ups, accepts what the worker
 * connects to, and carries it to the place that was meant. The destination is the accepted socket's own address.
 */
export async function relayNamespace({
  grant,
  sockets,
  broker,
  onDenied,
}: NamespaceOptions): Promise<NamespaceRelay> {
  const names = new NameTable();
  const places = unixPlaces(grant.unix);
  const endpoints = [...grant.connect, ...grant.udp];
  const ownNames = new Set(places.map((place) => place.host));
  const connections = new Connections({ log: broker.log, onDenied });
  const dns = new DnsResponder({ names, endpoints, ownNames, clock: broker.clock, onDenied });

  const open = (host: string, port: number): Promise<Socket> => {
    dns.connected(host);
    const path = unixPathOf(places, host, port);
    return path === undefined
      ? broker.connect({ endpoints: grant.connect, host, port })
      : broker.connectUnix(path);
  };
  const proxyPort = namespaceProxyPort(grant);
  const proxy = new HttpProxy({ clock: broker.clock, connections, open, credential: null });
  const hostAt = (text: string): string => {
    const address = parseAddress(text);
    const plain = address ? formatAddress(address) : text;
    return names.nameOf(plain) ?? plain;
  };
  const accept = (client: Socket, port: number): void => {
    if (port === proxyPort) return proxy.serve(client);
    const { localAddress } = client;
    if (localAddress === undefined || !connections.admit(client)) return void client.destroy();
    void connections.join(client, () => open(hostAt(localAddress), port));
  };

  const closers: (() => void)[] = [() => dns.close(), () => connections.close()];
  const taker = broker.taker();
  /** Of UDP; those of TCP are the listeners' from the first moment. */
  const unowned = new Set(sockets.udp);
  const close = () => {
    for (const step of closers.splice(0)) step();
    taker.discard({ tcp: [], udp: [...unowned] });
    unowned.clear();
  };
  try {
    const listeners = await adoptListeners(sockets.tcp, { clock: broker.clock, taker, accept });
    closers.push(() => listeners.close());
    for (const handed of sockets.udp) {
      const { port, fd } = handed;
      const relay = new UdpRelay(port, {
        broker,
        endpoints: grant.udp,
        answer: (client, data) => void socket.send(data, client.port, client.address),
        report: (error) => connections.report(error),
      });
      const socket = await adoptUdp(fd, (data, clientPort, address) => {
        // A datagram to a local address comes from that very address: who it is from is where it goes to.
        const host = hostAt(address);
        const granted = grant.udp.some((endpoint) => endpoint.port === port && endpoint.host === host);
        if (port === DNS_PORT && !granted) return replyTo(data, clientPort, address);
        dns.connected(host);
        relay.forward({ host, address, port: clientPort }, data);
      });
      const replyTo = (data: Buffer, clientPort: number, address: string): void => {
        const reply = dns.reply(data);
        if (reply) socket.send(reply, clientPort, address);
      };
      unowned.delete(handed);
      closers.push(
        () => relay.close(),
        () => socket.close(),
      );
    }
  } catch (error) {
    close();
    throw error;
  }
  return { connections: () => connections.size, close };
}

/** The types of Bun 1.4 do not know `fd`. */
function adoptUdp(
  fd: number,
  onData: (data: Buffer, port: number, address: string) => void,
): Promise<Bun.udp.Socket<"buffer">> {
  const socket = {
    data: (_socket: unknown, data: Buffer, port: number, address: string) => onData(data, port, address),
    error: () => {},
  };
  return Bun.udpSocket({ fd, socket } as unknown as Bun.udp.SocketOptions<"buffer">);
}
