import { createSocket } from "node:dgram";
import { connect } from "node:net";
import type { Attack, Target } from "../attack.ts";

const level = "network" as const;
const STREAM = 1;
const DATAGRAM = 2;
const RAW = 3;
const CONNECT_AND_SAY = (
  family: number,
  kind: "tcp" | "unix" | "abstract",
  protocol: number,
): Attack["calls"] => [
  { call: "socket", args: [family, STREAM, protocol] },
  {
    call: "connect",
    args: [{ result: 0 }, { address: kind }, kind === "tcp" ? 16 : kind === "unix" ? 110 : ABSTRACT],
  },
  { call: "write", args: [{ result: 0 }, { text: "$id\n" }, HELLO] },
];
/** Longer than any id: listeners cut at the end of the line. */
const HELLO = 64;
const ABSTRACT = 2 + 1 + 24;

/** Reaching anything by a socket. Listeners of the harness hear the attack's name. */
export const NETWORK: Attack[] = [
  {
    id: "net.tcp",
    title: "connect by TCP",
    level,
    proof: "hello",
    off: "succeeds",
    calls: CONNECT_AND_SAY(2, "tcp", 0),
    code: {
      ts: (t) => say(t, { host: "127.0.0.1", port: t.tcp }),
      sh: `bash -c 'exec 5<>"/dev/tcp/127.0.0.1/$0" && echo "$1" >&5' "$tcp" "$id"`,
    },
  },
  {
    id: "net.fetch",
    title: "fetch",
    level,
    proof: "hello",
    off: "succeeds",
    code: {
      ts: async (t) => {
        const url = `http://127.0.0.1:${t.tcp}/${t.id}`;
        const response = await fetch(url, { signal: AbortSignal.timeout(10_000) });
        if (!response.ok) throw new Error(await response.text());
        return await response.text();
      },
      sh: `curl -fsS --max-time 10 "http://127.0.0.1:$tcp/$id"`,
      py: `
import urllib.request
return urllib.request.urlopen(f"http://127.0.0.1:{t.tcp}/{t.id}", timeout=10).read()`,
    },
  },
  {
    id: "net.bun-connect",
    title: "connect with Bun.connect",
    level,
    proof: "hello",
    off: "succeeds",
    code: {
      ts: async (t) => {
        const socket = await Bun.connect({ hostname: "127.0.0.1", port: t.tcp, socket: { data() {} } });
        socket.write(`${t.id}\n`);
        socket.flush();
        await Bun.sleep(20);
        socket.end();
      },
    },
  },
  {
    id: "net.udp",
    title: "send by UDP",
    level,
    proof: "hello",
    off: "succeeds",
    calls: [
      { call: "socket", args: [2, DATAGRAM, 0] },
      { call: "sendto", args: [{ result: 0 }, { text: "$id\n" }, HELLO, 0, { address: "udp" }, 16] },
    ],
    code: {
      ts: (t) =>
        new Promise<void>((resolve, reject) => {
          const socket = createSocket("udp4").on("error", reject);
          socket.send(`${t.id}\n`, t.udp, "127.0.0.1", (error) => {
            socket.close();
            if (error) reject(error);
            else resolve();
          });
        }),
      sh: `bash -c 'echo "$1" > "/dev/udp/127.0.0.1/$0"' "$udp" "$id"`,
    },
  },
  {
    id: "net.ipv6",
    title: "make an IPv6 socket",
    level,
    proof: "said",
    off: "succeeds",
    optional: true,
    calls: [{ call: "socket", args: [10, STREAM, 0] }],
  },
  {
    id: "net.raw",
    title: "make a raw ICMP socket",
    level,
    proof: "said",
    off: "succeeds as root",
    calls: [{ call: "socket", args: [2, RAW, 1] }],
  },
  {
    id: "net.ping",
    title: "make an ICMP datagram socket",
    level,
    proof: "said",
    off: "succeeds",
    optional: true,
    calls: [{ call: "socket", args: [2, DATAGRAM, 1] }],
  },
  {
    id: "net.packet",
    title: "make a packet socket",
    level,
    proof: "said",
    off: "succeeds as root",
    optional: true,
    calls: [{ call: "socket", args: [17, RAW, 0x0300] }],
  },
  {
    id: "net.netlink",
    title: "make a netlink socket",
    level,
    proof: "said",
    off: "succeeds",
    calls: [{ call: "socket", args: [16, RAW, 0] }],
  },
  {
    id: "net.unix-path",
    title: "connect to a unix socket by its path",
    level,
    proof: "hello",
    off: "succeeds",
    calls: CONNECT_AND_SAY(1, "unix", 0),
    code: {
      ts: (t) => say(t, { path: t.unix }),
    },
  },
  {
    id: "net.unix-abstract",
    title: "connect to an abstract unix socket",
    level,
    proof: "hello",
    off: "succeeds",
    calls: CONNECT_AND_SAY(1, "abstract", 0),
  },
  {
    id: "net.vsock",
    title: "make a vsock socket",
    level,
    proof: "said",
    off: "succeeds",
    optional: true,
    calls: [{ call: "socket", args: [40, STREAM, 0] }],
  },
  {
    id: "net.mptcp",
    title: "connect by MPTCP",
    level,
    proof: "hello",
    off: "succeeds",
    optional: true,
    calls: CONNECT_AND_SAY(2, "tcp", 262),
  },
  {
    id: "net.sctp",
    title: "make an SCTP socket",
    level,
    proof: "said",
    off: "succeeds",
    optional: true,
    calls: [{ call: "socket", args: [2, STREAM, 132] }],
  },
  {
    id: "net.crypto",
    title: "make an AF_ALG socket",
    level,
    proof: "said",
    off: "succeeds",
    optional: true,
    calls: [{ call: "socket", args: [38, 5, 0] }],
  },
  {
    id: "net.fast-open",
    title: "connect by sending with MSG_FASTOPEN",
    level,
    proof: "hello",
    off: "succeeds",
    calls: [
      { call: "socket", args: [2, STREAM, 0] },
      {
        call: "sendto",
        args: [{ result: 0 }, { text: "$id\n" }, HELLO, 0x2000_0000, { address: "tcp" }, 16],
      },
    ],
  },
  {
    id: "net.listen",
    title: "listen on a port",
    level,
    proof: "said",
    off: "succeeds",
    calls: [
      { call: "socket", args: [2, STREAM, 0] },
      { call: "bind", args: [{ result: 0 }, { hex: "02000000000000000000000000000000" }, 16] },
      { call: "listen", args: [{ result: 0 }, 1] },
    ],
    code: {
      ts: () => {
        const server = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } });
        server.stop(true);
        return `port ${server.port}`;
      },
    },
  },
];

function say(target: Target, where: { host: string; port: number } | { path: string }): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect(where as { host: string; port: number }, () => {
      socket.end(`${target.id}\n`, () => resolve());
    });
    socket.on("error", reject);
  });
}
