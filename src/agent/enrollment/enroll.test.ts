import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { X509Certificate } from "node:crypto";
import { mkdtemp, readdir, readFile, rm, stat } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Clock, systemClock } from "../../core/clock.ts";
import type { SyncServer } from "../../hub/sync/grpc-server.ts";
import { startTestServer } from "../../testing/grpc-rig.ts";
import { MemorySessions } from "../../testing/memory-sessions.ts";
import { createTestCa } from "../../testing/test-ca.ts";
import { type EnrollOptions, enrollAgent } from "./enroll.ts";

const ca = await createTestCa();
const clock = systemClock();
const DAY = 86_400_000;
let sessions: MemorySessions;
let server: SyncServer;
let directory: string;

beforeEach(async () => {
  sessions = new MemorySessions();
  sessions.ca = ca;
  sessions.tokens = new Map([
    ["hfjoin_good", "ok"],
    ["hfjoin_old", "expired"],
    ["hfjoin_used", "used"],
  ]);
  server = await startTestServer(ca, sessions);
  directory = join(await mkdtemp(join(tmpdir(), "holdfast-enroll-")), "certificates");
});
afterEach(async () => {
  await server.drain();
  await rm(join(directory, ".."), { recursive: true, force: true });
});

const enroll = (options: Partial<EnrollOptions> = {}) =>
  enrollAgent({
    url: `grpcs://127.0.0.1:${server.port}`,
    token: "hfjoin_good",
    pin: ca.pin,
    id: "web-01",
    labels: { role: "web" },
    directory,
    clock,
    timeoutMs: 2000,
    ...options,
  });
const failure = (options: Partial<EnrollOptions>) =>
  enroll(options).then(
    () => {
      throw new Error("it enrolled");
    },
    (error) => error as { code: string; message: string },
  );
const files = () =>
  readdir(directory).then(
    (names) => names.sort(),
    () => [],
  );
const wallAt = (offsetMs: number): Clock => {
  const system = systemClock();
  return {
    mono: () => system.mono(),
    wall: () => system.wall() + offsetMs,
    trusted: () => system.trusted(),
    trust: () => {},
    after: (ms, callback) => system.after(ms, callback),
    sleep: (ms, signal) => system.sleep(ms, signal),
  };
};

describe("a good enrollment", () => {
  test("leaves key, certificate and CA, with their modes, and nothing of the token", async () => {
    const result = await enroll();
    expect(result).toMatchObject({ hubId: "hub-under-test", already: false });
    expect(result.expiresMs).toBeGreaterThan(Date.now());
    expect(Math.abs(result.clockOffsetMs!)).toBeLessThan(1000);
    expect(await files()).toEqual(["agent.crt", "agent.key", "ca.crt"]);
    expect((await stat(join(directory, "agent.key"))).mode & 0o777).toBe(0o600);
    expect((await stat(directory)).mode & 0o777).toBe(0o750);
    for (const name of await files()) {
      expect(await readFile(join(directory, name), "utf8")).not.toContain("hfjoin");
    }
    const certificate = new X509Certificate(await readFile(join(directory, "agent.crt")));
    expect(certificate.subject).toBe("CN=web-01");
    expect(await readFile(join(directory, "agent.key"), "utf8")).toStartWith("-----BEGIN PRIVATE KEY-----");
  });

  test("by name; a pin in capitals and with spaces around is the same pin", async () => {
    await enroll({ url: `grpcs://localhost:${server.port}`, pin: ` ${ca.pin.toUpperCase()} ` });
    expect(await files()).toContain("agent.crt");
  });

  test("twice: the second tells, and asks nobody", async () => {
    const { expiresMs } = await enroll();
    const again = await enroll({ token: "hfjoin_used" });
    expect(again).toMatchObject({ already: true, expiresMs, hubId: null });
  });

  test("a lost answer: the key stays, and the next try uses it", async () => {
    const asked: Buffer[] = [];
    const real = sessions.enroll.bind(sessions);
    sessions.enroll = async (request) => {
      asked.push(request.csr);
      if (asked.length === 1) await Bun.sleep(400);
      return real(request);
    };
    const lost = await failure({ timeoutMs: 200 });
    expect(lost.code).toBe("timed_out");
    expect(await files()).toEqual(["agent.key"]);
    const key = await readFile(join(directory, "agent.key"), "utf8");
    await enroll();
    expect(await readFile(join(directory, "agent.key"), "utf8")).toBe(key);
    expect(asked).toHaveLength(2);
  });
});

describe("refused, with nothing left behind", () => {
  test.each([
    [
      "an unknown token",
      { token: "hfjoin_what" },
      "unauthenticated",
      "the hub says: the join token is unknown",
    ],
    ["an expired token", { token: "hfjoin_old" }, "unauthenticated", "the join token is expired"],
    ["a used token", { token: "hfjoin_used" }, "unauthenticated", "the join token is used"],
    ["a pin that is none", { pin: "sha256:abc" }, "usage", "is not a pin"],
    ["an id that is none", { id: "a b" }, "usage", "is not an agent id"],
    ["an empty token", { token: " " }, "usage", "token is empty"],
    ["http", { url: "http://hub:1" }, "usage", "is not a hub's address"],
    ["a closed port", { url: "grpcs://127.0.0.1:1" }, "unreachable", "connection refused"],
    ["an unknown name", { url: "grpcs://no-such-hub.invalid:1" }, "unreachable", "name cannot be resolved"],
  ])("%s", async (_what, options, code, text) => {
    const error = await failure(options);
    expect(error.message).toContain(text);
    expect(error.code).toBe(code);
    expect(error.message).not.toContain("hfjoin_");
    expect(await files()).toEqual([]);
  });

  test("a wrong pin shows the presented one, and the token is not sent", async () => {
    let asked = 0;
    sessions.enroll = async () => {
      asked++;
      throw new Error("not reached");
    };
    const other = `sha256:${"0".repeat(64)}`;
    const error = await failure({ pin: other });
    expect(error.code).toBe("denied");
    expect(error.message).toContain(`expected ${other}, presented ${ca.pin}`);
    expect(asked).toBe(0);
    expect(await files()).toEqual([]);
  });

  test("a stranger who shows the hub's public CA certificate beside his own", async () => {
    const stranger = await createTestCa("test hub");
    const pair = await stranger.server(["127.0.0.1"]);
    const impostor = await startTestServer(stranger, sessions, {
      tls: { certificate: `${pair.certificate}\n${ca.certificate}`, key: pair.key, ca: stranger.certificate },
    });
    const error = await failure({ url: `grpcs://127.0.0.1:${impostor.port}` });
    expect(error.code).toBe("denied");
    expect(await files()).toEqual([]);
    await impostor.drain();
  });

  test("a hub that goes by another name", async () => {
    const named = await startTestServer(ca, sessions, { names: ["hub.example"] });
    const error = await failure({ url: `grpcs://127.0.0.1:${named.port}` });
    expect(error.code).toBe("denied");
    expect(error.message).toContain('is not for "127.0.0.1" but for DNS:hub.example');
    expect(await files()).toEqual([]);
    await named.drain();
  });

  test.each([
    ["ten years behind", -3650 * DAY, "is not valid yet"],
    ["ten years ahead", 3700 * DAY, "has expired"],
  ])("a clock %s is named", async (_what, offset, text) => {
    const error = await failure({ clock: wallAt(offset) });
    expect(error.code).toBe("unauthenticated");
    expect(error.message).toContain(text);
    const says = new Date(Date.now() + offset).toISOString().slice(0, 10);
    expect(error.message).toContain(`this host's clock says ${says}`);
    expect(error.message).toContain("check this host's clock");
    expect(await files()).toEqual([]);
  });

  test("a port that speaks plain HTTP, and one that says nothing", async () => {
    const http = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch: () => new Response("hi") });
    expect(await failure({ url: `grpcs://127.0.0.1:${http.port}` })).toMatchObject({ code: "unreachable" });
    await http.stop(true);
    const silent = createServer(() => {});
    await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", resolve));
    const { port } = silent.address() as { port: number };
    const error = await failure({ url: `grpcs://127.0.0.1:${port}`, timeoutMs: 200 });
    expect(error.code).toBe("unreachable");
    expect(error.message).toContain("no TLS answer within 0.2 s");
    silent.close();
    expect(await files()).toEqual([]);
  });

  test("certificate checks switched off in the environment", async () => {
    process.env.NODE_TLS_REJECT_UNAUTHORIZED = "0";
    try {
      const error = await failure({});
      expect(error.code).toBe("denied");
      expect(error.message).toContain("NODE_TLS_REJECT_UNAUTHORIZED");
    } finally {
      delete process.env.NODE_TLS_REJECT_UNAUTHORIZED;
    }
  });

  test.each([
    [
      "for another id",
      async (csr: Uint8Array) => ({ certificate: await ca.sign(csr, "db-01") }),
      'it is for "CN=db-01"',
    ],
    [
      "expired",
      async (csr: Uint8Array) => ({
        certificate: await ca.sign(csr, "web-01", {
          notBefore: new Date(Date.now() - 9 * DAY),
          notAfter: new Date(Date.now() - DAY),
        }),
      }),
      "it expired on",
    ],
    [
      "for another key",
      async () => ({ certificate: new X509Certificate((await ca.agent("web-01")).certificate).raw }),
      "it is for another key",
    ],
    [
      "of another CA",
      async (csr: Uint8Array) => {
        const other = await createTestCa();
        return { certificate: await other.sign(csr, "web-01"), caCertificate: other.der };
      },
      "its CA is not the pinned one",
    ],
    ["unreadable", async () => ({ certificate: Buffer.from("nonsense") }), "no readable certificate"],
  ])("an answer with a certificate %s", async (_what, make, text) => {
    sessions.enroll = async ({ csr }) => ({
      caCertificate: ca.der,
      hubId: "h",
      wallMs: 0n,
      ...((await make(csr)) as { certificate: Buffer }),
    });
    const error = await failure({});
    expect(error.code).toBe("corrupt");
    expect(error.message).toContain(text);
    expect(await files()).toEqual(["agent.key"]);
  });
});

describe("a folder that is already in use", () => {
  test("enrolled as another id, or with another hub: refused, and unchanged", async () => {
    await enroll();
    const before = await readFile(join(directory, "agent.crt"), "utf8");
    const id = await failure({ id: "db-01" });
    expect(id.code).toBe("conflict");
    expect(id.message).toContain('already enrolled as agent "web-01"');
    const hub = await failure({ pin: `sha256:${"1".repeat(64)}` });
    expect(hub.message).toContain("already enrolled with another hub");
    expect(await readFile(join(directory, "agent.crt"), "utf8")).toBe(before);
  });

  test("an expired certificate is replaced, with the same key", async () => {
    const real = sessions.enroll.bind(sessions);
    const clockThen = wallAt(0);
    sessions.enroll = async (request) => ({
      ...(await real(request)),
      certificate: await ca.sign(request.csr, "web-01", { notAfter: new Date(Date.now() + 60_000) }),
    });
    await enroll({ clock: clockThen });
    const key = await readFile(join(directory, "agent.key"), "utf8");
    sessions.enroll = real;
    const later = { ...clockThen, trusted: () => Date.now() + 120_000 };
    expect(await enroll({ clock: later })).toMatchObject({ already: false });
    expect(await readFile(join(directory, "agent.key"), "utf8")).toBe(key);
  });

  test("a key file that is none is named, and its content is not quoted", async () => {
    await Bun.write(join(directory, "agent.key"), "-----BEGIN PRIVATE KEY-----\nsecret\n");
    const error = await failure({});
    expect(error.code).toBe("invalid");
    expect(error.message).toContain("agent.key is not an ECDSA P-256 key");
    expect(error.message).not.toContain("secret");
  });

  test("a home that cannot be written, before the token is spent", async () => {
    let asked = 0;
    sessions.enroll = async () => {
      asked++;
      throw new Error("not reached");
    };
    const error = await failure({ directory: "/proc/nowhere/certificates" });
    expect(error.code).toBe("failed");
    expect(error.message).toContain("cannot write /proc/nowhere/certificates/agent.key");
    expect(asked).toBe(0);
  });
});
