import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { readdirSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import type { Endpoint } from "../../../model/grant.ts";
import { kernelFacts, networkGrant, testBroker } from "../../../testing/network-worker.ts";
import { steady, until } from "../../../testing/until.ts";
import { parseProxyRequest } from "./http-proxy-head.ts";
import { openWorkerNetwork, type WorkerNetwork } from "./worker-network.ts";

const unixPath = `${tmpdir()}/holdfast-proxy-${process.pid}.sock`;
let web: Bun.Server<undefined>;
let unix: Bun.Server<undefined>;
let network: WorkerNetwork;
const denied: string[] = [];

beforeAll(async () => {
  const answer = async (request: Request) =>
    new Response(`${request.method} ${request.headers.get("host")} ${(await request.text()).length}`, {
      headers: { "X-Proxy-Auth": request.headers.get("proxy-authorization") ?? "none" },
    });
  web = Bun.serve({ hostname: "127.0.0.1", port: 0, fetch: answer });
  unix = Bun.serve({ unix: unixPath, fetch: answer });
  const connects: Endpoint[] = [
    { host: "api.example.org", port: web.port! },
    { host: "127.0.0.1", port: 1 },
  ];
  network = await openWorkerNetwork({
    grant: networkGrant({ connect: connects, unix: [unixPath] }),
    kernel: kernelFacts({ netNamespace: false }),
    broker: testBroker({
      resolve: async () => ["93.184.216.34"],
      dial: (address, port) =>
        connect({ host: "127.0.0.1", port: address.startsWith("93.") ? port : 1, allowHalfOpen: true }),
    }),
    folder: tmpdir(),
    kind: "script",
    onDenied: (what) => denied.push(what),
  });
});
afterAll(async () => {
  await network.close();
  await web.stop(true);
  await unix.stop(true);
});

async function run(command: string[], change: Record<string, string> = {}) {
  const child = Bun.spawn(command, {
    env: { PATH: "/usr/bin:/bin", ...network.env, ...change },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const [out, err] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
  return { out, err };
}
const curl = (...args: string[]) => run(["curl", "-sS", "-m", "5", ...args]);

test("only its port is open to the worker, and what programs need is in their environment", () => {
  expect(network.launch).toEqual({ proxyPort: expect.any(Number) });
  expect(network.env.https_proxy).toMatch(/^http:\/\/holdfast:[0-9a-f]{32}@127\.0\.0\.1:\d+$/);
  expect(network.env).toMatchObject({ NO_PROXY: "", HOLDFAST_UNIX_1: "unix-1.holdfast.internal:80" });
});

test("curl in both forms, with a body; the credential stays here", async () => {
  const url = `http://api.example.org:${web.port}/path`;
  const host = `api.example.org:${web.port}`;
  expect(await curl(url)).toEqual({ out: `GET ${host} 0`, err: "" });
  expect((await curl("-d", "x".repeat(50_000), url)).out).toBe(`POST ${host} 50000`);
  expect((await curl("-H", "Transfer-Encoding: chunked", "-d", "abc", url)).out).toBe(`POST ${host} 3`);
  expect((await curl("--proxytunnel", url)).out).toBe(`GET ${host} 0`);
  expect((await curl("-si", url)).out).toContain("X-Proxy-Auth: none");
});

test("fetch of a Bun program", async () => {
  const code = `console.log(await (await fetch("http://api.example.org:${web.port}/")).text());
    const denied = await fetch("http://other.example.org/"); console.log(denied.status, await denied.text());`;
  const { out } = await run([process.execPath, "-e", code]);
  expect(out).toBe(`GET api.example.org:${web.port} 0\n403 denied: network other.example.org:80\n\n`);
});

test("what is denied is said, by the proxy and to the agent", async () => {
  denied.length = 0;
  expect((await curl("http://example.net/")).out).toBe("denied: network example.net:80\n");
  expect((await curl("https://example.net/")).err).toContain("403");
  expect((await curl("http://0x7f.1:8080/")).out).toContain("denied: network");
  expect(denied).toEqual([
    "network example.net:80",
    "network example.net:443",
    expect.stringContaining(":8080"),
  ]);
});

test("what cannot be reached, a unix socket", async () => {
  expect((await curl("-o", "/dev/null", "-w", "%{http_code}", "http://127.0.0.1:1/")).out).toBe("502");
  expect((await curl("http://unix-1.holdfast.internal/")).out).toBe("GET unix-1.holdfast.internal 0");
});

describe("whoever else finds the port", () => {
  const raw = async (text: string) => {
    const socket = connect({ host: "127.0.0.1", port: network.launch.proxyPort! });
    let answer = "";
    let closed = false;
    socket.on("data", (chunk) => void (answer += chunk)).on("close", () => void (closed = true));
    socket.on("error", () => {});
    socket.write(text);
    await until("the end of the answer", () => closed);
    return answer;
  };
  const url = () => `http://api.example.org:${web.port}/`;

  test("gets nothing without the credential", async () => {
    for (const change of ["", "holdfast:wrong@", `holdfast:${"0".repeat(32)}@`]) {
      const proxy = `http://${change}127.0.0.1:${network.launch.proxyPort}`;
      const { out } = await run(["curl", "-si", "-m", "5", url()], { http_proxy: proxy });
      expect(out).toStartWith("HTTP/1.1 407 ");
    }
  });

  test("and nothing with rubbish", async () => {
    expect(await raw("GET / HTTP/1.1\r\nHost: x\r\n\r\n")).toStartWith("HTTP/1.1 400 ");
    expect(await raw("CONNECT nowhere HTTP/1.1\r\n\r\n")).toStartWith("HTTP/1.1 400 ");
    expect(await raw(`GET ${url()} HTTP/1.1\r\nA: ${"x".repeat(40_000)}\r\n\r\n`)).toStartWith(
      "HTTP/1.1 431 ",
    );
    expect(await raw("\0\0\r\n\r\n")).toStartWith("HTTP/1.1 400 ");
  });
});

test("a closed proxy leaves no descriptor behind", async () => {
  const descriptors = () => readdirSync("/proc/self/fd").length;
  const once = async () => {
    const opened = await openWorkerNetwork({
      grant: networkGrant({ connect: [{ host: "api.example.org", port: 443 }] }),
      kernel: kernelFacts({ netNamespace: false }),
      broker: testBroker(),
      folder: tmpdir(),
      kind: "script",
      onDenied: () => {},
    });
    const client = connect({ host: "127.0.0.1", port: opened.launch.proxyPort! });
    const gone = new Promise((resolve) => client.on("error", () => {}).once("close", resolve));
    await new Promise((resolve) => client.once("connect", resolve));
    await opened.close();
    client.destroy();
    await gone;
  };
  await once();
  const before = await steady(descriptors);
  for (let round = 0; round < 10; round++) await once();
  expect(await steady(descriptors)).toBeLessThanOrEqual(before);
});

test("heads", () => {
  const forward = parseProxyRequest(
    "GET http://a.test/x?y HTTP/1.1\r\nHost: evil.test\r\nProxy-Authorization: Basic YTpi\r\nConnection: keep-alive\r\nAccept: */*",
  )!;
  expect(forward).toMatchObject({ kind: "forward", host: "a.test", port: 80, basic: "YTpi" });
  expect(forward.head).toBe("GET /x?y HTTP/1.1\r\nHost: a.test\r\nAccept: */*\r\nConnection: close\r\n\r\n");
  expect(parseProxyRequest("CONNECT [::1]:443 HTTP/1.1")).toMatchObject({
    kind: "tunnel",
    host: "::1",
    port: 443,
  });
  expect(parseProxyRequest("GET http://a.test?q HTTP/1.1")!.head).toStartWith("GET /?q HTTP/1.1\r\n");
  for (const text of [
    "",
    "GET / HTTP/1.1",
    "GET https://a.test/ HTTP/1.1",
    "GET http://user@a.test/ HTTP/1.1",
    "GET http://a.test:99999/ HTTP/1.1",
    "CONNECT a.test HTTP/1.1",
    "CONNECT a.test:0 HTTP/1.1",
    "GET http://a.test/ HTTP/1.1\r\nBad Header: x",
    "GET http://a.test/ HTTP/1.1\r\n folded: x",
    "GET http://a.test/ HTTP/2",
  ])
    expect(parseProxyRequest(text)).toBeNull();
});
