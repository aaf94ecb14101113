import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { createServer } from "node:net";
import { systemClock } from "../../core/clock.ts";
import { silentLogger } from "../../core/logger.ts";
import { startByteProxy } from "../../testing/byte-proxy.ts";
import { certificatesFolder, removeFolder, startTestServer } from "../../testing/grpc-rig.ts";
import { until } from "../../testing/until.ts";
import { MemorySessions } from "../../testing/memory-sessions.ts";
import { createTestCa, type TestCa } from "../../testing/test-ca.ts";
import { AGENT_ID, helloOf, Rows, takeFrames, transportContract } from "../../testing/transport-contract.ts";
import { startSyncServer } from "../../hub/sync/grpc-server.ts";
import { grpcTransport } from "./grpc-transport.ts";

const clock = systemClock();
const ca: TestCa = await createTestCa();
let certificates: string;

beforeAll(async () => {
  certificates = await certificatesFolder(ca.certificate, await ca.agent(AGENT_ID));
});
afterAll(() => removeFolder(certificates));

transportContract("gRPC over mTLS", async (sessions) => {
  const server = await startTestServer(ca, sessions);
  const proxy = await startByteProxy({ target: server.port });
  return {
    transport: grpcTransport({ url: `grpcs://127.0.0.1:${proxy.port}`, certificates, clock }),
    cut: (agentId, reason) => server.cut(agentId, reason),
    kill: () => proxy.cut(),
    stop: async () => {
      await server.drain();
      await proxy.stop();
    },
  };
});

const dial = (url: string, folder = certificates, connectTimeoutMs = 3000) =>
  grpcTransport({ url, certificates: folder, clock, connectTimeoutMs }).connect(
    helloOf(AGENT_ID),
    new AbortController().signal,
  );
const failure = (url: string, folder?: string, timeout?: number) =>
  dial(url, folder, timeout).then(
    () => {
      throw new Error("it connected");
    },
    (error) => error as { code: string; message: string },
  );

describe("dialling", () => {
  test("by name too, and with a proxy in the environment that nobody listens at", async () => {
    const server = await startTestServer(ca, new MemorySessions());
    process.env.https_proxy = "http://127.0.0.1:9";
    try {
      const session = await dial(`grpcs://localhost:${server.port}`);
      session.close();
      expect((await session.closed).by).toBe("agent");
    } finally {
      delete process.env.https_proxy;
      await server.drain();
    }
  });

  test("a closed port is unreachable, and says so", async () => {
    const error = await failure("grpcs://127.0.0.1:1");
    expect(error.code).toBe("unreachable");
    expect(error.message).toContain("the hub at 127.0.0.1:1 cannot be reached: connection refused");
  });

  test("a name that does not resolve", async () => {
    const error = await failure("grpcs://no-such-hub.invalid:8443");
    expect(error.code).toBe("unreachable");
    expect(error.message).toContain("name cannot be resolved");
  });

  test("a peer that takes the connection and never answers is given up in time", async () => {
    const silent = createServer(() => {});
    await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", resolve));
    const started = performance.now();
    const error = await failure(
      `grpcs://127.0.0.1:${(silent.address() as { port: number }).port}`,
      undefined,
      300,
    );
    expect(performance.now() - started).toBeLessThan(1500);
    expect(error.code).toBe("unreachable");
    expect(error.message).toContain("no TLS handshake and welcome within 0.3 s");
    silent.close();
  });

  test("an agent that stops does not wait for a peer that never answers", async () => {
    const silent = createServer(() => {});
    await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", resolve));
    const { port } = silent.address() as { port: number };
    const abort = new AbortController();
    const connecting = grpcTransport({ url: `grpcs://127.0.0.1:${port}`, certificates, clock }).connect(
      helloOf(AGENT_ID),
      abort.signal,
    );
    silent.once("connection", () => abort.abort(new Error("stopping")));
    await expect(connecting).rejects.toThrow("stopping");
    silent.close();
  });

  test("a port that speaks plain HTTP", async () => {
    const http = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch: () => new Response("hello") });
    const error = await failure(`grpcs://127.0.0.1:${http.port}`, undefined, 2000);
    expect(error.code).toBe("unreachable");
    expect(error.message).toMatch(/TLS/);
    await http.stop(true);
  });

  test("no certificate yet: says how to enroll", async () => {
    const error = await failure("grpcs://127.0.0.1:1", "/nonexistent");
    expect(error.code).toBe("unauthenticated");
    expect(error.message).toContain("holdfast agent enroll");
  });
});

describe("the hub's certificate", () => {
  const day = 86_400_000;
  const hub = async (from: TestCa, names: string[], validity: { notBefore?: Date; notAfter?: Date } = {}) => {
    const pair = await from.server(names, validity);
    return await startSyncServer({
      listen: { host: "127.0.0.1", port: 0 },
      tls: { certificate: `${pair.certificate}\n${from.certificate}`, key: pair.key, ca: from.certificate },
      sessions: new MemorySessions(),
      log: silentLogger(),
      clock,
    });
  };

  test.each([
    [
      "of another CA",
      async () => hub(await createTestCa(), ["127.0.0.1"]),
      "denied",
      "is not the hub this host trusts",
    ],
    [
      "for another name",
      () => hub(ca, ["10.9.8.7"]),
      "denied",
      'is not for "127.0.0.1" but for IP Address:10.9.8.7',
    ],
    [
      "expired",
      () =>
        hub(ca, ["127.0.0.1"], {
          notBefore: new Date(Date.now() - 9 * day),
          notAfter: new Date(Date.now() - day),
        }),
      "unauthenticated",
      "has expired",
    ],
    [
      "not valid yet",
      () =>
        hub(ca, ["127.0.0.1"], {
          notBefore: new Date(Date.now() + day),
          notAfter: new Date(Date.now() + 9 * day),
        }),
      "unauthenticated",
      "is not valid yet",
    ],
  ])("%s is refused with what to do", async (_what, start, code, text) => {
    const server = await start();
    const error = await failure(`grpcs://127.0.0.1:${server.port}`);
    expect(error.message).toContain(text);
    expect(error.code).toBe(code);
    if (code === "unauthenticated") expect(error.message).toContain("this host's clock says 20");
    await server.drain();
  });

  test("is checked also where the environment says not to", async () => {
    process.env.NODE_TLS_REJECT_UNAUTHORIZED = "0";
    const server = await hub(await createTestCa(), ["127.0.0.1"]);
    try {
      expect((await failure(`grpcs://127.0.0.1:${server.port}`)).code).toBe("denied");
    } finally {
      delete process.env.NODE_TLS_REJECT_UNAUTHORIZED;
      await server.drain();
    }
  });
});

test("windows of 1 MB: so much is sent while the hub's answers are under way, not 64 KB", async () => {
  const server = await startTestServer(ca, new MemorySessions());
  const proxy = await startByteProxy({ target: server.port });
  const session = await dial(`grpcs://127.0.0.1:${proxy.port}`);
  const rows = new Rows();
  const acks = takeFrames(session, 40);
  // Answers carry the word that there is room again: without them, what is sent is what the windows hold.
  proxy.holdAnswers();
  const before = proxy.sentBytes;
  const sending = (async () => {
    for (let n = 0; n < 40; n++) await session.send(rows.frame(1, 64 * 1024));
  })();
  await until("close to 1 MB is sent", () => proxy.sentBytes - before > 960 * 1024, 20_000);
  proxy.resume();
  await Promise.all([sending, acks]);
  session.close();
  await server.drain();
  await proxy.stop();
}, 60_000);
