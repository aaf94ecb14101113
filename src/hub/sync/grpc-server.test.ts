import { afterAll, afterEach, beforeEach, describe, expect, test } from "bun:test";
import { connect } from "node:net";
import type { ServiceError } from "@grpc/grpc-js";
import { grpcTransport } from "../../agent/sync/grpc-transport.ts";
import { systemClock } from "../../core/clock.ts";
import { HoldfastError } from "../../core/errors.ts";
import type { EnrollRequest, EnrollResponse, HubFrame } from "../../protocol/gen/holdfast/v1/sync.ts";
import { parseHubUrl } from "../../protocol/transport-address.ts";
import { type ClientTls, hubError, openSyncClient } from "../../protocol/transport-grpc.ts";
import { startByteProxy } from "../../testing/byte-proxy.ts";
import { certificatesFolder, removeFolder, startTestServer } from "../../testing/grpc-rig.ts";
import { MemorySessions } from "../../testing/memory-sessions.ts";
import { createTestCa, type PemPair } from "../../testing/test-ca.ts";
import { helloOf, Rows, takeFrames } from "../../testing/transport-contract.ts";
import { until } from "../../testing/until.ts";
import type { SyncServer } from "./grpc-server.ts";
import { BATCHES_IN_FLIGHT } from "./record-intake.ts";

const clock = systemClock();
const ca = await createTestCa();
const own = await ca.agent("web-01");
const folders: string[] = [];
let sessions: MemorySessions;
let server: SyncServer;

beforeEach(async () => {
  sessions = new MemorySessions();
  sessions.ca = ca;
  server = await startTestServer(ca, sessions, {
    helloTimeoutMs: 300,
    enrollments: { perSecond: 0.001, burst: 3 },
  });
});
afterEach(() => server.drain());
afterAll(() => Promise.all(folders.map(removeFolder)));

async function dial(pair: PemPair, id = "web-01", port = server.port) {
  const certificates = await certificatesFolder(ca.certificate, pair);
  folders.push(certificates);
  const transport = grpcTransport({
    url: `grpcs://127.0.0.1:${port}`,
    certificates,
    clock,
    connectTimeoutMs: 3000,
  });
  return await transport.connect(helloOf(id), new AbortController().signal);
}

function client(tls: ClientTls = { ca: ca.certificate }) {
  return openSyncClient(parseHubUrl(`grpcs://127.0.0.1:${server.port}`), tls);
}

async function enroll(request: Partial<EnrollRequest>): Promise<EnrollResponse> {
  const sync = await client();
  const full = { agentId: "web-01", token: "t", csr: Buffer.alloc(8), labels: {}, wallMs: 0n, ...request };
  try {
    return await new Promise((resolve, reject) =>
      sync.enroll(full, (error: ServiceError | null, answer) =>
        error ? reject(hubError(error) ?? error) : resolve(answer),
      ),
    );
  } finally {
    sync.close();
  }
}

describe("who may connect", () => {
  const day = 86_400_000;
  const past = { notBefore: new Date(Date.now() - 9 * day), notAfter: new Date(Date.now() - day) };

  test("an agent with a certificate of our CA; the serial is told", async () => {
    let serial = "";
    const hello = sessions.hello.bind(sessions);
    sessions.hello = (agentId, frame, given) => {
      serial = given;
      return hello(agentId, frame, given);
    };
    const session = await dial(own);
    expect(serial).toMatch(/^[0-9a-f]{20,}$/);
    expect(server.connections()).toBe(1);
    session.close();
    await until("the session ends", () => server.connections() === 0);
  });

  test.each([
    [
      "a certificate of another CA",
      async () => (await createTestCa()).agent("web-01"),
      "not of this hub's CA",
    ],
    ["an expired certificate", () => ca.agent("web-01", past), "expired on"],
    ["a server's certificate", () => ca.agent("web-01", { usage: "server" }), "not made for an agent"],
    [
      "a name without the agent's URI",
      () => ca.agent("web-01", { uri: "urn:example:web-01" }),
      "names no agent",
    ],
    [
      "the URI of another agent",
      () => ca.agent("web-01", { uri: "urn:holdfast:agent:db-01" }),
      "names no agent",
    ],
  ])("%s is refused", async (_what, make, text) => {
    const error = await dial(await make()).catch((thrown) => thrown);
    expect(error).toBeInstanceOf(HoldfastError);
    expect(error.code).toBe("unauthenticated");
    expect(error.message).toContain(text);
    expect(sessions.hellos).toEqual([]);
  });

  test("a CA that only has the same name is not ours", async () => {
    const twin = await createTestCa("test hub");
    await expect(dial(await twin.agent("web-01"))).rejects.toMatchObject({ code: "unauthenticated" });
    expect(sessions.hellos).toEqual([]);
  });

  test("no certificate: Connect is refused", async () => {
    const sync = await client();
    const call = sync.connect();
    const error = await new Promise<ServiceError>((resolve) => call.on("error", resolve));
    expect(hubError(error)).toMatchObject({ code: "unauthenticated" });
    expect(error.details).toContain("no client certificate");
    sync.close();
  });
});

describe("enrollment needs no certificate", () => {
  test("and is handed to the hub with the errors of the hub", async () => {
    await expect(enroll({ token: "nobody-knows" })).rejects.toMatchObject({
      code: "unauthenticated",
      message: expect.stringContaining("the join token is unknown"),
    });
  });

  test("what is too large is refused before anybody looks at it", async () => {
    const seen: string[] = [];
    sessions.enroll = async ({ agentId }) => {
      seen.push(agentId);
      throw new Error("not reached");
    };
    await expect(enroll({ csr: Buffer.alloc(20_000) })).rejects.toMatchObject({ code: "too_large" });
    await expect(enroll({ token: "x".repeat(1000) })).rejects.toMatchObject({ code: "too_large" });
    expect(seen).toEqual([]);
  });

  test("at a rate", async () => {
    for (let n = 0; n < 3; n++) await expect(enroll({})).rejects.toMatchObject({ code: "unauthenticated" });
    await expect(enroll({})).rejects.toMatchObject({ code: "exhausted" });
  });

  test("an error that is not ours stays in the hub's log", async () => {
    sessions.enroll = async () => {
      throw new Error("secret detail of the database");
    };
    const error = await enroll({}).catch((thrown) => thrown);
    expect(error.code).toBe("failed");
    expect(error.message).not.toContain("secret");
  });
});

describe("limits", () => {
  test("a call without a hello is ended", async () => {
    const sync = await client({ ca: ca.certificate, identity: own });
    const call = sync.connect();
    call.on("data", () => {});
    const error = await new Promise<ServiceError>((resolve) => call.on("error", resolve));
    expect(hubError(error)).toMatchObject({ code: "timed_out" });
    sync.close();
  });

  test("a connection that says nothing is closed", async () => {
    const socket = connect(server.port, "127.0.0.1");
    socket.on("error", () => {});
    await new Promise<void>((resolve) => socket.once("close", () => resolve()));
  });

  test("connections over the limit are refused, the others live", async () => {
    const small = await startTestServer(ca, sessions, { maxConnections: 1 });
    const session = await dial(own, "web-01", small.port);
    await expect(dial(await ca.agent("web-02"), "web-02", small.port)).rejects.toMatchObject({
      code: "unreachable",
    });
    await session.send(new Rows().frame(1));
    expect(await takeFrames(session, 1)).toHaveLength(1);
    await small.drain();
  });

  test(`at most ${BATCHES_IN_FLIGHT} batches of an agent wait for their commit`, async () => {
    let busy = 0;
    let most = 0;
    sessions.beforeIngest = async () => {
      most = Math.max(most, ++busy);
      await Bun.sleep(2);
      busy--;
    };
    const session = await dial(own);
    const rows = new Rows();
    for (let n = 0; n < 60; n++) await session.send(rows.frame(2));
    await takeFrames(session, 60);
    expect(most).toBe(BATCHES_IN_FLIGHT);
    session.close();
  });

  test("a port in use names the port", async () => {
    const again = startTestServer(ca, sessions, { listen: { host: "127.0.0.1", port: server.port } });
    await expect(again).rejects.toThrow(`cannot listen on 127.0.0.1:${server.port}: the port is in use`);
  });
});

describe("endings", () => {
  test("a cut ends a session whose peer reads nothing any more", async () => {
    const proxy = await startByteProxy({ target: server.port });
    const session = await dial(own, "web-01", proxy.port);
    proxy.pause();
    server.cut("web-01", "revoked");
    await until("the session ends", () => server.connections() === 0);
    proxy.resume();
    expect((await session.closed).by).not.toBe("agent");
    await proxy.stop();
  });

  test("a hub that drains says so and answers what it has taken", async () => {
    const session = await dial(own);
    await session.send(new Rows().frame(3));
    expect(await takeFrames(session, 1)).toHaveLength(1);
    await server.drain();
    expect(await session.closed).toMatchObject({ by: "hub", message: expect.stringContaining("going down") });
  });

  test("an ingest that fails ends the session with one error frame; the cause stays with us", async () => {
    sessions.beforeIngest = async () => {
      throw new Error("disk sector 17");
    };
    const session = await dial(own);
    const rows = new Rows();
    await session.send(rows.frame(1));
    await session.send(rows.frame(1));
    const told = await takeFrames(session, 10);
    expect(told.map(codeOf)).toEqual(["failed"]);
    expect(await session.closed).toMatchObject({ by: "hub", code: "failed" });
    expect(
      JSON.stringify(told.map(({ frame }) => (frame as { value: { message: string } }).value.message)),
    ).not.toContain("sector");
  });

  test("a fork is told once, and the stream's later batches are passed over", async () => {
    const session = await dial(own);
    await session.send(new Rows().frame(2));
    const other = new Rows();
    for (let n = 0; n < 3; n++) await session.send(other.frame(2, 33));
    session.close();
    const frames = await takeFrames(session, 10);
    expect(frames.map(codeOf)).toEqual(["ack", "fork"]);
    expect(sessions.bodies(2)).toHaveLength(2);
  });
});

function codeOf({ frame }: HubFrame): string {
  return frame?.$case === "error" ? frame.value.code : (frame?.$case ?? "?");
}
