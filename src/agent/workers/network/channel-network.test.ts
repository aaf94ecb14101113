import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { connect, createServer, type Server, type Socket } from "node:net";
import { gzipSync } from "node:zlib";
import { networkGrant, testBroker } from "../../../testing/network-worker.ts";
import { createTestCa, type TestCa } from "../../../testing/test-ca.ts";
import { steady, until } from "../../../testing/until.ts";
import { type ChannelNetwork, channelNetwork } from "./channel-network.ts";
import type { NetFrame } from "./channel-stream.ts";
import { Connections } from "./connections.ts";
import { createFetch } from "./host-fetch.ts";
import { HostNetwork } from "./host-network.ts";
import { parseNetFrame } from "./net-frame.ts";

let ca: TestCa;
let web: Bun.Server<undefined>;
let secure: Bun.Server<undefined>;
let counter: Server;
const denied: string[] = [];
/** Bytes of data frames that are on the way up, at most. */
let frames: NetFrame[] = [];

async function answer(request: Request): Promise<Response> {
  const url = new URL(request.url);
  if (url.pathname === "/away") return Response.redirect(`http://other.test:${web.port}/`, 302);
  if (url.pathname === "/again") return new Response(null, { status: 307, headers: { location: "/" } });
  if (url.pathname === "/gzip") {
    return new Response(gzipSync("unpacked"), { headers: { "content-encoding": "gzip" } });
  }
  if (url.pathname === "/big") return new Response(Buffer.alloc(10 * 1024 * 1024, "x"));
  if (url.pathname === "/pieces") {
    return new Response(
      new ReadableStream({
        async start(controller) {
          for (const piece of ["one ", "two ", "three"]) controller.enqueue(Buffer.from(piece));
          controller.close();
        },
      }),
    );
  }
  const seen = request.headers.get("authorization") ?? "nobody";
  return new Response(`${request.method} ${url.host} ${(await request.arrayBuffer()).byteLength} ${seen}`);
}

beforeAll(async () => {
  ca = await createTestCa();
  const pair = await ca.server(["api.test"]);
  web = Bun.serve({ hostname: "127.0.0.1", port: 0, fetch: answer });
  secure = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    tls: { cert: pair.certificate, key: pair.key },
    fetch: answer,
  });
  counter = createServer({ allowHalfOpen: true }, (socket) => {
    let bytes = 0;
    socket.on("data", (chunk) => void (bytes += chunk.length)).on("error", () => {});
    socket.on("end", () => socket.end(`got ${bytes}`));
  });
  await new Promise<void>((resolve) => counter.listen(0, "127.0.0.1", resolve));
});
afterAll(async () => {
  await web.stop(true);
  await secure.stop(true);
  counter.close();
});

/** Both ends of a channel, with each frame as the JSON that it would be. */
function rig(): {
  host: HostNetwork;
  agent: ChannelNetwork;
  connections: Connections;
  fetch: ReturnType<typeof createFetch>;
} {
  denied.length = 0;
  frames = [];
  const broker = testBroker({
    resolve: async () => ["93.184.216.34"],
    dial: (_address, port) => connect({ host: "127.0.0.1", port, allowHalfOpen: true }),
  });
  const { connect: endpoints } = networkGrant({ connect: [{ host: "api.test", port: null }] });
  const connections = new Connections({ log: broker.log, onDenied: (what) => denied.push(what) });
  const agent = channelNetwork(connections, (host, port) => broker.connect({ endpoints, host, port }));
  const copy = <T>(value: T) => JSON.parse(JSON.stringify(value)) as T;
  const host = new HostNetwork((frame) => {
    frames.push(frame);
    queueMicrotask(() =>
      agent.receive(copy(frame), (down) => queueMicrotask(() => host.receive(copy(down)))),
    );
  });
  return { host, agent, connections, fetch: createFetch((name, port) => host.connect(name, port)) };
}

describe("fetch over the channel", () => {
  const at = (path: string) => `http://api.test:${web.port}${path}`;

  test("bodies of every kind", async () => {
    const { fetch, connections } = rig();
    expect(await (await fetch(at("/"))).text()).toBe(`GET api.test:${web.port} 0 nobody`);
    const posted = await fetch(at("/"), {
      method: "POST",
      body: "x".repeat(700_000),
      headers: { authorization: "me" },
    });
    expect(await posted.text()).toBe(`POST api.test:${web.port} 700000 me`);
    expect(await (await fetch(at("/pieces"))).text()).toBe("one two three");
    expect(await (await fetch(at("/gzip"))).text()).toBe("unpacked");
    expect((await (await fetch(at("/big"))).arrayBuffer()).byteLength).toBe(10 * 1024 * 1024);
    const head = await fetch(at("/big"), { method: "HEAD" });
    expect([head.status, await head.text()]).toEqual([200, ""]);
    await until("no connection left", () => connections.size === 0);
  });

  test("redirects go on, each hop checked", async () => {
    const { fetch } = rig();
    const again = await fetch(at("/again"), { method: "PUT", body: "abc" });
    expect([again.redirected, again.url]).toEqual([true, at("/")]);
    expect(await again.text()).toBe(`PUT api.test:${web.port} 3 nobody`);
    expect((await fetch(at("/again"), { redirect: "manual" })).status).toBe(307);
    await expect(fetch(at("/again"), { redirect: "error" })).rejects.toThrow("redirected");
    await expect(fetch(at("/away"))).rejects.toThrow(`denied: network other.test:${web.port}`);
    await until("the denial", () => denied.length > 0);
    expect(denied).toEqual([`network other.test:${web.port}`]);
  });

  test("TLS ends in the worker, which checks the certificate", async () => {
    const { fetch } = rig();
    const url = `https://api.test:${secure.port}/`;
    const tls = { ca: ca.certificate };
    expect(await (await fetch(url, { tls })).text()).toBe(`GET api.test:${secure.port} 0 nobody`);
    await expect(fetch(url)).rejects.toThrow(/certificate|self.signed/i);
  });

  test("a call can be given up", async () => {
    const { fetch, connections } = rig();
    const abort = new AbortController();
    const response = await fetch(at("/big"), { signal: abort.signal });
    abort.abort();
    await expect(response.text()).rejects.toThrow();
    await until("no connection left", () => connections.size === 0);
    await expect(fetch("file:///etc/passwd")).rejects.toThrow("only http and https");
  });
});

describe("raw connections", () => {
  test("each half ends for itself; 50 at once", async () => {
    const { host, connections } = rig();
    const port = (counter.address() as { port: number }).port;
    const once = async (bytes: number) => {
      const stream = await host.connect("api.test", port);
      stream.end(Buffer.alloc(bytes));
      let text = "";
      for await (const chunk of stream) text += chunk;
      return text;
    };
    const all = await Promise.all(Array.from({ length: 50 }, (_, at) => once(at * 10_000)));
    expect(all).toEqual(Array.from({ length: 50 }, (_, at) => `got ${at * 10_000}`));
    await until("no connection left", () => connections.size === 0);
  });

  test("a peer that does not read stops the worker", async () => {
    const held: Socket[] = [];
    const deaf = createServer({ pauseOnConnect: true }, (socket) => void held.push(socket));
    await new Promise<void>((resolve) => deaf.listen(0, "127.0.0.1", resolve));
    const { host, agent } = rig();
    const stream = await host.connect("api.test", (deaf.address() as { port: number }).port);
    stream.on("error", () => {});
    for (let at = 0; at < 1000; at++) stream.write(Buffer.alloc(64 * 1024));
    const sent = () => frames.filter((frame) => frame.kind === "net_data").length;
    expect(await steady(sent)).toBeLessThan(400);
    agent.close();
    for (const socket of held) socket.destroy();
    deaf.close();
  });

  test("what breaks the rules is invalid", () => {
    const { agent } = rig();
    const send = () => {};
    const wrong: unknown[] = [
      { kind: "net_open" },
      { kind: "net_open", id: 1, host: "x".repeat(300), port: 1 },
      { kind: "net_open", id: 1, host: "a", port: 0 },
      { kind: "net_data", id: 1, data: 5 },
      { kind: "net_data", id: 1, data: "x".repeat(200_000) },
      { kind: "net_credit", id: 1, bytes: -1 },
      { kind: "net_credit", id: 1, bytes: 1e9 },
      { kind: "net_failed", id: 1 },
      { kind: "net_other", id: 1 },
    ];
    for (const frame of wrong) expect(() => parseNetFrame(frame)).toThrow("a frame of a connection");
    agent.receive({ kind: "net_data", id: 9, data: "AAAA" }, send);
    agent.receive({ kind: "net_open", id: 1, host: "api.test", port: 9 }, send);
    expect(() => agent.receive({ kind: "net_open", id: 1, host: "api.test", port: 9 }, send)).toThrow(
      "open already",
    );
    const flood = () => {
      for (let at = 0; at < 10; at++) {
        agent.receive({ kind: "net_data", id: 1, data: Buffer.alloc(90_000).toString("base64") }, send);
      }
    };
    expect(flood).toThrow("more bytes");
    agent.close();
  });
});
