import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { connect, createServer, type Server, Socket } from "node:net";
import { HoldfastError } from "../../../core/errors.ts";
import type { Endpoint } from "../../../model/grant.ts";
import { testBroker } from "../../../testing/network-worker.ts";
import { matching, readDestination } from "./endpoint-match.ts";

const endpoint = (text: string): Endpoint => {
  const at = text.lastIndexOf(":");
  const port = text.slice(at + 1);
  return { host: text.slice(0, at).replace(/^\[|\]$/g, ""), port: port === "*" ? null : Number(port) };
};

describe("which endpoint names a destination", () => {
  const table: [granted: string, host: string, port: number, expected: boolean][] = [
    ["api.example.org:443", "api.example.org", 443, true],
    ["api.example.org:443", "API.Example.ORG.", 443, true],
    ["api.example.org:443", "api.example.org", 444, false],
    ["api.example.org:443", "xapi.example.org", 443, false],
    ["api.example.org:443", "api.example.org.evil.test", 443, false],
    ["api.example.org:*", "api.example.org", 1, true],
    ["*.example.org:443", "a.example.org", 443, true],
    ["*.example.org:443", "a.b.example.org", 443, true],
    ["*.example.org:443", "example.org", 443, false],
    ["*.example.org:443", "aexample.org", 443, false],
    ["*.example.org:443", "1.2.3.4", 443, false],
    ["*:443", "anything.test", 443, true],
    ["*:443", "1.2.3.4", 443, true],
    ["127.0.0.1:80", "127.0.0.1", 80, true],
    ["127.0.0.1:80", "2130706433", 80, true],
    ["127.0.0.1:80", "::ffff:127.0.0.1", 80, true],
    ["127.0.0.1:80", "127.0.0.2", 80, false],
    ["127.0.0.1:80", "localhost", 80, false],
    ["[2606:2800::1]:80", "2606:2800:0::1", 80, true],
    ["localhost:80", "127.0.0.1", 80, true],
    ["localhost:80", "::1", 80, true],
    ["localhost:80", "10.0.0.1", 80, false],
    ["localhost:80", "a.localhost", 80, false],
  ];
  test.each(table)("%s and %s:%d: %p", (granted, host, port, expected) => {
    expect(matching([endpoint(granted)], readDestination(host)!, port).length > 0).toBe(expected);
  });
  test.each([
    "",
    "a b",
    "a/b",
    "a..b",
    ".a",
    "-a.test",
    "ä.test",
    "a\0b",
    "x".repeat(254),
    "1.2.3.4.example:80",
  ])("%j is no host", (text) => expect(readDestination(text)).toBeNull());
});

/** What is dialled when these endpoints are granted and the name has these addresses, or why nothing is. */
async function reach(granted: string[], destination: string, answers: string[]): Promise<string> {
  const broker = testBroker({ resolve: async () => answers });
  const { host, port } = endpoint(destination);
  try {
    const wish = { endpoints: granted.map(endpoint), host, port: port! };
    return (await broker.addresses(wish)).join(" ");
  } catch (error) {
    return `${(error as Error).message}: ${String((error as HoldfastError).details?.reason)}`;
  }
}

describe("which addresses may be dialled", () => {
  const table: [granted: string, destination: string, answers: string, expected: string][] = [
    ["a.test:443", "a.test:443", "1.1.1.1 2606:2800::1", "1.1.1.1 2606:2800::1"],
    ["a.test:443", "a.test:443", "127.0.0.1 1.1.1.1 169.254.169.254", "1.1.1.1"],
    ["a.test:443", "a.test:443", "10.0.0.1", "10.0.0.1"],
    ["a.test:443", "a.test:443", "127.0.0.1", "denied: network a.test:443: its address is loopback"],
    ["a.test:443", "a.test:443", "64:ff9b::7f00:1", "denied: network a.test:443: its address is loopback"],
    ["a.test:443", "a.test:443", "169.254.169.254", "denied: network a.test:443: its address is link-local"],
    ["a.test:443", "a.test:443", "", "denied: network a.test:443: its name has no address"],
    ["a.test:*", "a.test:443", "10.0.0.1", "denied: network a.test:443: its address is private"],
    ["*.test:443", "a.test:443", "10.0.0.1", "denied: network a.test:443: its address is private"],
    ["*:443", "a.test:443", "192.168.0.1", "denied: network a.test:443: its address is private"],
    ["*:443 192.168.0.1:443", "a.test:443", "192.168.0.1", "192.168.0.1"],
    [
      "*:443 192.168.0.1:80",
      "a.test:443",
      "192.168.0.1",
      "denied: network a.test:443: its address is private",
    ],
    ["*:443", "10.0.0.1:443", "", "denied: network 10.0.0.1:443: its address is private"],
    ["*:443", "0.0.0.0:443", "", "denied: network 0.0.0.0:443: its address is no address of a host"],
    ["10.0.0.1:443", "10.0.0.1:443", "", "10.0.0.1"],
    ["[::1]:443", "::1:443", "", "::1"],
    ["localhost:80", "localhost:80", "9.9.9.9", "127.0.0.1 ::1"],
    ["localhost:80", "0x7f.1:80", "", "127.0.0.1 ::1"],
    ["*:80", "localhost:80", "127.0.0.1", "denied: network localhost:80: its address is loopback"],
    ["a.test:443", "b.test:443", "1.1.1.1", "denied: network b.test:443: it is not granted"],
  ];
  test.each(table)("%s, wanting %s at %p", async (granted, destination, answers, expected) => {
    const list = answers === "" ? [] : answers.split(" ");
    expect(await reach(granted.split(" "), destination, list)).toBe(expected);
  });
});

describe("connections", () => {
  let server: Server;
  let port: number;
  beforeAll(async () => {
    server = createServer((socket) => socket.end("hello"));
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    port = (server.address() as { port: number }).port;
  });
  afterAll(() => void server.close());

  test("the next address is tried when one does not answer", async () => {
    const dialled: string[] = [];
    const broker = testBroker({
      resolve: async () => ["1.1.1.1", "1.1.1.2", "1.1.1.3"],
      dial: (address) => {
        dialled.push(address);
        return connect({ host: "127.0.0.1", port: address === "1.1.1.2" ? port : 1 });
      },
    });
    const socket = await broker.connect({ endpoints: [endpoint("a.test:443")], host: "a.test", port: 443 });
    expect(dialled).toEqual(["1.1.1.1", "1.1.1.2"]);
    socket.destroy();
  });

  const fails = async (work: Promise<unknown>) =>
    await work.then(
      () => "works",
      (error: HoldfastError) => error.code,
    );

  test("unreachable, unknown and silent hosts", async () => {
    const wish = { endpoints: [endpoint("a.test:443"), endpoint("127.0.0.1:1")], host: "a.test", port: 443 };
    expect(await fails(testBroker().connect({ ...wish, host: "127.0.0.1", port: 1 }))).toBe("unreachable");
    const unknown = testBroker({ resolve: () => Promise.reject(new Error("ENOTFOUND")) });
    expect(await fails(unknown.connect(wish))).toBe("unreachable");
    const slowNames = testBroker({ timeoutMs: 30, resolve: () => new Promise(() => {}) });
    expect(await fails(slowNames.connect(wish))).toBe("timed_out");
    const silent = testBroker({ timeoutMs: 30, resolve: async () => ["1.1.1.1"], dial: () => new Socket() });
    expect(await fails(silent.connect(wish))).toBe("timed_out");
  });

  test("a listener that is added is out of reach until it is taken off", async () => {
    const broker = testBroker();
    const wish = { endpoints: [endpoint(`127.0.0.1:${port}`)], host: "127.0.0.1", port };
    const remove = broker.addListener({ host: "127.0.0.1", port });
    expect(await fails(broker.connect(wish))).toBe("denied");
    remove();
    (await broker.connect(wish)).destroy();
  });
});
