import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { readdirSync } from "node:fs";
import { createServer, connect, type Server, type Socket } from "node:net";
import type { Endpoint, Grant } from "../../../model/grant.ts";
import {
  networkGrant,
  type NetworkWorkerOptions,
  startNetworkWorker,
} from "../../../testing/network-worker.ts";
import { AS_NOBODY, IN_USER_NAMESPACE } from "../../../testing/stage-one-rig.ts";
import { createTestCa } from "../../../testing/test-ca.ts";
import { steady, until } from "../../../testing/until.ts";

setDefaultTimeout(30_000);

const PUBLIC = "93.184.216.34";
const NAME = "api.example.org";

/** Sends back what it gets, half by half: `got <bytes>` once the other side has ended. */
let counter: Server;
let web: Bun.Server<undefined>;
let counterPort: number;
let webPort: number;
/** Addresses that were dialled. */
const dialled: string[] = [];

beforeAll(async () => {
  counter = createServer({ allowHalfOpen: true }, (socket) => {
    let bytes = 0;
    socket.on("error", () => {});
    socket.on("data", (chunk) => void (bytes += chunk.length));
    socket.on("end", () => socket.end(`got ${bytes}`));
  });
  await new Promise<void>((resolve) => counter.listen(0, "127.0.0.1", resolve));
  counterPort = (counter.address() as { port: number }).port;
  web = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    async fetch(request) {
      const { pathname } = new URL(request.url);
      if (pathname === "/big") return new Response(Buffer.alloc(10 * 1024 * 1024, "x"));
      return new Response(`${request.headers.get("host")} ${(await request.arrayBuffer()).byteLength}`);
    },
  });
  webPort = web.port!;
});
afterAll(async () => {
  counter.close();
  await web.stop(true);
});

/** The internet of these tests: every name has a public address, and that leads to the test's own servers. */
const internet: NonNullable<NetworkWorkerOptions["broker"]> = {
  resolve: async () => [PUBLIC],
  dial: (address, port) => {
    dialled.push(address);
    return connect({ host: address === PUBLIC ? "127.0.0.1" : address, port, allowHalfOpen: true });
  },
};

const to = (port: number | null, host = NAME): Endpoint => ({ host, port });

async function run(part: Partial<Grant>, command: string[], options: Partial<NetworkWorkerOptions> = {}) {
  const worker = await startNetworkWorker({
    grant: networkGrant(part),
    command,
    broker: internet,
    ...options,
  });
  return { ...(await worker.ended), denied: worker.denied };
}

const curl = (...args: string[]) => ["/usr/bin/curl", "-sS", "-m", "10", ...args];
const python = (code: string) => ["/usr/bin/python3", "-c", code];
const users: [string, string[]][] =
  process.getuid!() === 0
    ? [
        ["root", []],
        ["an ordinary user", [...AS_NOBODY, ...IN_USER_NAMESPACE]],
      ]
    : [["an ordinary user", IN_USER_NAMESPACE]];

describe.each(users)("a network of its own, as %s", (_user, prefix) => {
  test("curl reaches a granted name, and is refused another", async () => {
    const good = await run({ connect: [to(webPort)] }, curl(`http://${NAME}:${webPort}/`), { prefix });
    expect(good).toMatchObject({ out: `${NAME}:${webPort} 0`, err: "", denied: [] });
    const bad = await run({ connect: [to(webPort)] }, curl("https://other.example.org/"), { prefix });
    expect(bad.denied).toEqual(["network other.example.org:443"]);
    expect(bad.code).not.toBe(0);
  });

  test("raw TCP of bash and Python", async () => {
    const bash = `exec 5<>/dev/tcp/${NAME}/${webPort}; printf 'GET / HTTP/1.0\\r\\nHost: x\\r\\n\\r\\n' >&5; tail -n 1 <&5`;
    const first = await run({ connect: [to(webPort)] }, ["/bin/bash", "-c", bash], { prefix });
    expect(first).toMatchObject({ out: "x 0", denied: [] });
    const code = `
import socket
s = socket.create_connection(("${NAME}", ${counterPort})); s.sendall(b"hello"); s.shutdown(socket.SHUT_WR); print(s.recv(99))`;
    expect((await run({ connect: [to(counterPort)] }, python(code), { prefix })).out).toContain("got 5");
  });
});

test("fetch of a Bun program, with TLS", async () => {
  const pair = await (await createTestCa()).server([NAME]);
  const server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    tls: { cert: pair.certificate, key: pair.key },
    fetch: () => new Response("by TLS"),
  });
  const code = `
const answer = await fetch("https://${NAME}:${server.port}/", { tls: { rejectUnauthorized: false } });
console.log(await answer.text());
await fetch("https://evil.example.org/").catch((error) => console.log(error.code));`;
  const { out, denied } = await run({ connect: [to(server.port!)] }, [process.execPath, "-e", code]);
  // Which of them depends on whether the reset comes before the client has seen that it is connected.
  expect(out).toMatch(/^by TLS\n(?:ECONNRESET|ECONNREFUSED)\n$/);
  expect(denied).toEqual(["network evil.example.org:443"]);
  await server.stop(true);
});

describe("where it leads", () => {
  const check = (host: string, port: number) =>
    python(`
import socket
for attempt in range(2):
  try:
    s = socket.create_connection(("${host}", ${port}), 5); s.shutdown(socket.SHUT_WR); print(s.recv(99).decode())
  except OSError as error: print(type(error).__name__)`);

  test("a literal address, also of the loopback; localhost by name and by address", async () => {
    const literal = await run({ connect: [to(counterPort, "127.0.0.1")] }, check("127.0.0.1", counterPort));
    expect(literal).toMatchObject({ out: "got 0\ngot 0\n", denied: [] });
    for (const host of ["localhost", "127.0.0.1"]) {
      const local = await run({ connect: [to(counterPort, "localhost")] }, check(host, counterPort));
      expect(local).toMatchObject({ out: "got 0\ngot 0\n", denied: [] });
    }
  });

  test("never to the agent's own listeners", async () => {
    const { denied } = await run(
      { connect: [to(counterPort, "127.0.0.1"), to(counterPort, "*")] },
      check("127.0.0.1", counterPort),
      { broker: { ...internet, ownListeners: () => [{ host: "0.0.0.0", port: counterPort }] } },
    );
    expect(new Set(denied)).toEqual(new Set([`network 127.0.0.1:${counterPort}`]));
  });

  test("a name that turns to a loopback address is checked at each connect, and dialled as checked", async () => {
    const answers = [[PUBLIC], ["127.0.0.1"], ["::ffff:127.0.0.1", "64:ff9b::7f00:1"]];
    dialled.length = 0;
    const { out, denied } = await run({ connect: [to(counterPort)] }, check(NAME, counterPort), {
      broker: { ...internet, resolve: async () => answers.shift()! },
    });
    expect(out.split("\n")[0]).toBe("got 0");
    expect(denied).toEqual([`network ${NAME}:${counterPort}`]);
    expect(dialled).toEqual([PUBLIC]);
  });

  test("an address that was not granted, and a port where nobody listens", async () => {
    const other = await run({ connect: [to(counterPort)] }, check("10.1.2.3", counterPort));
    expect(new Set(other.denied)).toEqual(new Set([`network 10.1.2.3:${counterPort}`]));
    const port = await run({ connect: [to(counterPort)] }, check("unknown.example.org", 7));
    expect(port.out).toBe("ConnectionRefusedError\nConnectionRefusedError\n");
    expect(port.denied).toEqual(["network unknown.example.org"]);
  });

  test("every port of a host: through the proxy in its network", async () => {
    const { out, denied, err } = await run({ connect: [to(null, "*")] }, [
      "/bin/bash",
      "-c",
      `curl -sS http://${NAME}:${webPort}/; echo; curl -sS --proxytunnel http://${NAME}:${webPort}/`,
    ]);
    expect({ out, denied, err }).toEqual({
      out: `${NAME}:${webPort} 0\n${NAME}:${webPort} 0`,
      denied: [],
      err: "",
    });
  });

  test("a unix socket of the host, by the name in its environment", async () => {
    const path = `/tmp/holdfast-unix-${process.pid}.sock`;
    const server = Bun.serve({ unix: path, fetch: () => new Response("by unix") });
    const { out, denied } = await run({ unix: [path] }, [
      "/bin/bash",
      "-c",
      `curl -sS http://$HOLDFAST_UNIX_1/`,
    ]);
    expect({ out, denied }).toEqual({ out: "by unix", denied: [] });
    await server.stop(true);
  });
});

test("datagrams to a granted host, and no other", async () => {
  const echo = await Bun.udpSocket({
    hostname: "127.0.0.1",
    socket: { data: (socket, data, port, address) => void socket.send(`got ${data}`, port, address) },
  });
  const code = `
import socket
for host, wait in (("localhost", 10), ("evil.example.org", 0.3)):
  s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(wait); s.sendto(b"ping", (host, ${echo.port}))
  try: print(s.recvfrom(99)[0].decode())
  except TimeoutError: print("nothing")`;
  const { out, denied } = await run({ udp: [to(echo.port, "localhost")] }, python(code));
  expect(out).toBe("got ping\nnothing\n");
  expect(denied).toEqual([`network evil.example.org:${echo.port}`]);
  echo.close();
});

describe("much at once", () => {
  test("50 connections in parallel", async () => {
    const code = `
import socket
all = [socket.create_connection(("${NAME}", ${counterPort})) for each in range(50)]
for s in all: s.sendall(b"x" * 1000); s.shutdown(socket.SHUT_WR)
print(sum(s.recv(99) == b"got 1000" for s in all))`;
    expect(await run({ connect: [to(counterPort)] }, python(code))).toMatchObject({
      out: "50\n",
      denied: [],
    });
  });

  test("more than 64 at once are refused, and there is room again after", async () => {
    const code = `
import socket
def works(s):
  try:
    s.sendall(b"x"); s.shutdown(socket.SHUT_WR); return s.recv(99) == b"got 1"
  except OSError: return False
all = [socket.create_connection(("${NAME}", ${counterPort})) for each in range(80)]
import select
dead = []
while len(dead) < 16:
  for s in select.select([s for s in all if s not in dead], [], [])[0]:
    try: s.recv(1)
    except OSError: dead.append(s)
print(sum(works(s) for s in all))
for s in all: s.close()
import time
while not works(socket.create_connection(("${NAME}", ${counterPort}))): time.sleep(0.01)
print("again")`;
    expect((await run({ connect: [to(counterPort)] }, python(code))).out).toBe("64\nagain\n");
  });

  test("10 MB both ways", async () => {
    const size = 10 * 1024 * 1024;
    const code = `
import urllib.request as r
print(len(r.urlopen("http://${NAME}:${webPort}/big").read()))
print(r.urlopen("http://${NAME}:${webPort}/", data=b"x" * ${size}).read().decode())`;
    const { out } = await run({ connect: [to(webPort)] }, python(code));
    expect(out).toBe(`${size}\n${NAME}:${webPort} ${size}\n`);
  });

  test("a peer that does not read holds up the worker, not the agent's memory", async () => {
    const held: Socket[] = [];
    const deaf = createServer({ pauseOnConnect: true }, (socket) => void held.push(socket));
    await new Promise<void>((resolve) => deaf.listen(0, "127.0.0.1", resolve));
    const { port } = deaf.address() as { port: number };
    const before = process.memoryUsage.rss();
    const code = `
import socket
s = socket.create_connection(("${NAME}", ${port})); s.settimeout(1)
sent = 0
try:
  while sent < 500_000_000: sent += s.send(b"x" * 65536)
except TimeoutError: print("held up", sent < 50_000_000)`;
    const { out } = await run({ connect: [to(port)] }, python(code));
    expect(out).toBe("held up True\n");
    expect(process.memoryUsage.rss() - before).toBeLessThan(40 * 1024 * 1024);
    for (const socket of held) socket.destroy();
    deaf.close();
  });
});

test("a worker that connects in a loop waits; the agent does not", async () => {
  const code = `
import socket, time
end = time.monotonic() + 1
count = 0
while time.monotonic() < end:
  s = socket.socket(); s.setblocking(False); s.connect_ex(("5.6.7.8", 443)); s.close()
  count += 1
print(count)`;
  const started = performance.now();
  const { out, denied } = await run({ connect: [to(counterPort)] }, python(code));
  const pauses = Math.ceil((performance.now() - started) / 250);
  expect(Number(out)).toBeGreaterThan(64);
  expect(denied.length).toBeGreaterThan(0);
  expect(denied.length).toBeLessThanOrEqual(64 * (pauses + 1));
});

test("a worker killed in the middle leaves no descriptor behind", async () => {
  const descriptors = () => readdirSync("/proc/self/fd").length;
  const code = `
import socket, time
all = [socket.create_connection(("${NAME}", ${counterPort})) for each in range(20)]
print("open", flush=True)
while True: all[0].send(b"x" * 65536)`;
  const once = async () => {
    const before = dialled.length;
    const worker = await startNetworkWorker({
      grant: networkGrant({ connect: [to(counterPort)], udp: [to(123)] }),
      command: python(code),
      broker: internet,
    });
    await until("20 connections", () => dialled.length >= before + 20, 20_000);
    worker.kill();
    await worker.ended;
  };
  await once();
  const before = await steady(descriptors);
  for (let round = 0; round < 3; round++) await once();
  expect(await steady(descriptors)).toBeLessThanOrEqual(before);
});
