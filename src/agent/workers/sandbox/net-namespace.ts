import type { NetPolicy } from "./launch-policy.ts";
import { ERRNO, type Kernel, must } from "./libc.ts";

const CLONE_NEWNET = 0x40000000;
const [AF_INET, AF_INET6, AF_NETLINK] = [2, 10, 16];
const [SOCK_STREAM, SOCK_DGRAM, SOCK_RAW] = [1, 2, 3];
const SOCK_CLOEXEC = 0o2000000;
const SOCK_NONBLOCK = 0o4000;
const [SOL_SOCKET, SO_REUSEADDR] = [1, 2];
const [SOL_IPV6, IPV6_V6ONLY] = [41, 26];
const BACKLOG = 128;

const SIOCGIFFLAGS = 0x8913;
const SIOCSIFFLAGS = 0x8914;
const IFREQ_BYTES = 40;
const IFREQ_FLAGS = 16;
const IFF_UP = 1;

const RTM_NEWADDR = 20;
const RTM_NEWROUTE = 24;
/** REQUEST, ACK, CREATE, EXCL. */
const NEW = 0x605;
const HEADER_BYTES = 16;
/** The only interface of a new namespace. */
const LOOPBACK = 1;

/**
 * Addresses beside 127.0.0.1 and ::1, or resolvers that ask "is there any IPv4 here" find none. Nobody is reached by
 * them: every address is local here.
 */
const OWN_ADDRESSES: [family: number, address: Buffer][] = [
  [AF_INET, Buffer.from([10, 255, 255, 1])],
  [AF_INET6, Buffer.from("fd000000000000000000000000000001", "hex")],
];

/** Ports and the descriptors that listen on them, in stage 1. */
export interface OpenSockets {
  tcp: { port: number; fd: number }[];
  udp: { port: number; fd: number }[];
}

/**
 * A network namespace in which every address is this host, so that what the worker connects to arrives at the sockets
 * made here, and at nothing else. Needs CAP_SYS_ADMIN and CAP_NET_ADMIN in its user namespace.
 */
export function enterNetwork(kernel: Kernel, policy: NetPolicy): OpenSockets {
  must("network namespace", kernel.call("unshare", CLONE_NEWNET));
  bringLoopbackUp(kernel);
  for (const [family, address] of OWN_ADDRESSES) {
    const added = addAddress(kernel, family, address);
    // A kernel without IPv6.
    if (family === AF_INET6 && added < 0) continue;
    must("address on loopback", added);
    must("route of every address", addRouteOfAll(kernel, family));
  }
  return {
    tcp: policy.tcp.map((port) => ({ port, fd: listen(kernel, port) })),
    udp: policy.udp.map((port) => ({ port, fd: bindTo(kernel, AF_INET, SOCK_DGRAM, port) })),
  };
}

function bringLoopbackUp(kernel: Kernel): void {
  const socket = must("socket", kernel.call("socket", AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  const request = Buffer.alloc(IFREQ_BYTES);
  request.write("lo");
  must("read loopback's flags", kernel.call("ioctl", socket, SIOCGIFFLAGS, request));
  request.writeInt16LE(request.readInt16LE(IFREQ_FLAGS) | IFF_UP, IFREQ_FLAGS);
  must("bring loopback up", kernel.call("ioctl", socket, SIOCSIFFLAGS, request));
  kernel.call("close", socket);
}

function addAddress(kernel: Kernel, family: number, address: Buffer): number {
  const [IFA_ADDRESS, IFA_LOCAL, IFA_F_NODAD] = [1, 2, 2];
  // struct ifaddrmsg { u8 family, prefixlen, flags, scope; u32 index }
  const body = Buffer.from([
    family,
    address.length * 8,
    family === AF_INET6 ? IFA_F_NODAD : 0,
    0,
    LOOPBACK,
    0,
    0,
    0,
  ]);
  return routeMessage(
    kernel,
    RTM_NEWADDR,
    Buffer.concat([body, attribute(IFA_ADDRESS, address), attribute(IFA_LOCAL, address)]),
  );
}

/** `ip route add local 0.0.0.0/0 dev lo`. */
function addRouteOfAll(kernel: Kernel, family: number): number {
  const [RT_TABLE_LOCAL, RTPROT_BOOT, RT_SCOPE_HOST, RTN_LOCAL, RTA_OIF] = [255, 3, 254, 2, 4];
  // struct rtmsg { u8 family, dst_len, src_len, tos, table, protocol, scope, type; u32 flags }
  const scope = family === AF_INET ? RT_SCOPE_HOST : 0;
  const body = Buffer.from([family, 0, 0, 0, RT_TABLE_LOCAL, RTPROT_BOOT, scope, RTN_LOCAL, 0, 0, 0, 0]);
  return routeMessage(
    kernel,
    RTM_NEWROUTE,
    Buffer.concat([body, attribute(RTA_OIF, Buffer.from([LOOPBACK, 0, 0, 0]))]),
  );
}

function attribute(type: number, value: Buffer): Buffer {
  const head = Buffer.alloc(4);
  head.writeUInt16LE(4 + value.length, 0);
  head.writeUInt16LE(type, 2);
  return Buffer.concat([head, value]);
}

/** Sends one request and gives its answer: 0 or -errno. */
function routeMessage(kernel: Kernel, type: number, body: Buffer): number {
  const socket = must("netlink", kernel.call("socket", AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, 0));
  // struct nlmsghdr { u32 length; u16 type, flags; u32 sequence, pid }
  const header = Buffer.alloc(HEADER_BYTES);
  header.writeUInt32LE(HEADER_BYTES + body.length, 0);
  header.writeUInt16LE(type, 4);
  header.writeUInt16LE(NEW, 6);
  header.writeUInt32LE(1, 8);
  const message = Buffer.concat([header, body]);
  must("netlink send", kernel.call("sendto", socket, message, message.length, 0, null, 0));
  const answer = Buffer.alloc(512);
  must("netlink receive", kernel.call("recvfrom", socket, answer, answer.length, 0, null, null));
  kernel.call("close", socket);
  return answer.readInt32LE(HEADER_BYTES);
}

/** For connections of both families; for IPv4 alone where there is no IPv6. */
function listen(kernel: Kernel, port: number): number {
  let socket = bindTo(kernel, AF_INET6, SOCK_STREAM, port);
  if (socket === -ERRNO.EAFNOSUPPORT) socket = bindTo(kernel, AF_INET, SOCK_STREAM, port);
  must(`socket for port ${port}`, socket);
  must(`listen on port ${port}`, kernel.call("listen", socket, BACKLOG));
  return socket;
}

function bindTo(kernel: Kernel, family: number, type: number, port: number): number {
  const socket = kernel.call("socket", family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (socket < 0) return socket;
  kernel.call("setsockopt", socket, SOL_SOCKET, SO_REUSEADDR, new Int32Array([1]), 4);
  if (family === AF_INET6) kernel.call("setsockopt", socket, SOL_IPV6, IPV6_V6ONLY, new Int32Array([0]), 4);
  // struct sockaddr_in, sockaddr_in6: family, port in network order, and any address, which is zeros.
  const address = Buffer.alloc(family === AF_INET6 ? 28 : 16);
  address.writeUInt16LE(family, 0);
  address.writeUInt16BE(port, 2);
  must(`bind port ${port}`, kernel.call("bind", socket, address, address.length));
  return socket;
}
