import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { systemClock } from "../../core/clock.ts";
import { HoldfastError } from "../../core/errors.ts";
import { systemIds } from "../../core/ids.ts";
import { silentLogger } from "../../core/logger.ts";
import type { AgentStream } from "../../hub/sync/agent-stream.ts";
import { LiveAgents } from "../../hub/sync/live-agents.ts";
import type { HostFacts } from "../../model/agent-status.ts";
import type { Session } from "../../protocol/transport.ts";
import { type ByteProxy, startByteProxy } from "../../testing/byte-proxy.ts";
import { certificatesFolder, removeFolder, startTestServer } from "../../testing/grpc-rig.ts";
import { MemoryOutboxStore } from "../../testing/memory-outbox-store.ts";
import { MemorySessions } from "../../testing/memory-sessions.ts";
import { startMqttHub } from "../../testing/mqtt-rig.ts";
import { createTestCa } from "../../testing/test-ca.ts";
import { AGENT_ID, helloOf } from "../../testing/transport-contract.ts";
import { until } from "../../testing/until.ts";
import { createOutbox } from "../outbox/outbox.ts";
import { FailoverTransport } from "./failover-transport.ts";
import { grpcTransport } from "./grpc-transport.ts";
import { mqttTransport } from "./mqtt-transport.ts";
import { Sync } from "./sync.ts";

const EVENTS = 2;
const FAILOVER_MS = 600;
const ca = await createTestCa();
const [clock, ids, log] = [systemClock(), systemIds(), silentLogger()];
let certificates: string;
beforeAll(async () => {
  certificates = await certificatesFolder(ca.certificate, await ca.agent(AGENT_ID));
});
afterAll(() => removeFolder(certificates));

describe("an agent with two ways to its hub", () => {
  /** A hub with both, each behind a proxy. */
  async function start() {
    const sessions = new MemorySessions();
    const live = new LiveAgents<AgentStream>();
    const server = await startTestServer(ca, sessions, { live });
    const hub = await startMqttHub(ca, sessions, { live });
    const grpc = await startByteProxy({ target: server.port });
    const broker = await startByteProxy({ target: hub.port });
    const transport = new FailoverTransport({
      preferred: grpcTransport({
        url: `grpcs://127.0.0.1:${grpc.port}`,
        certificates,
        clock,
        connectTimeoutMs: 2000,
      }),
      other: mqttTransport({ url: `mqtts://127.0.0.1:${broker.port}`, certificates, clock, ids, log }),
      failoverAfterMs: FAILOVER_MS,
      probeMs: 100,
      clock,
      ids,
      log,
    });
    const store = new MemoryOutboxStore();
    const sync = new Sync({
      transport,
      outbox: createOutbox({ store, log }),
      agent: { id: AGENT_ID, labels: {} },
      facts: () => ({ hostname: "h" }) as HostFacts,
      status: () => ({}),
      heartbeatMs: 50,
      clock,
      ids,
      log,
      backoff: { kind: "exponential", initialMs: 5, maxMs: 40 },
    });
    const abort = new AbortController();
    const running = sync.run(abort.signal);
    return {
      ...{ sessions, server, grpc, broker, store, sync, transport },
      stop: async () => {
        abort.abort(new Error("stopping"));
        await running;
        await hub.server.drain();
        await server.drain();
        await Promise.all([grpc.stop(), broker.stop()]);
      },
    };
  }
  let rig: Awaited<ReturnType<typeof start>>;
  const carriedBy = (name: string) => () =>
    rig.sync.status().state === "online" && rig.sync.status().transport === name;
  const block = (proxy: ByteProxy) => {
    proxy.target(1);
    proxy.cut();
  };

  test("goes to the broker, back, and through both dying: each row once, in order", async () => {
    rig = await start();
    const { store, sessions, grpc, broker, server, transport } = rig;
    let appended = 0;
    const append = (count: number) => {
      const rows = Array.from({ length: count }, () => `row ${++appended}`.padEnd(400, "."));
      store.append(EVENTS, ...rows);
    };
    append(500);
    await until("gRPC", carriedBy("grpc"));
    const feeding = { on: true };
    const feed = (async () => {
      for (; feeding.on && appended < 20_000; await Bun.sleep(2)) append(25);
    })();

    block(grpc);
    const cutAt = performance.now();
    await until("the broker", carriedBy("mqtt"), 10_000);
    expect(performance.now() - cutAt).toBeLessThan(FAILOVER_MS + 2000);
    const before = sessions.bodies(EVENTS).length;
    await until("rows through the broker", () => sessions.bodies(EVENTS).length > before + 500, 10_000);
    expect(sessions.transports.slice(0, 2)).toEqual(["grpc", "mqtt"]);
    expect(transport.failovers).toBe(1);

    grpc.target(server.port);
    await until("gRPC again", carriedBy("grpc"), 10_000);

    block(grpc);
    await until("the broker again", carriedBy("mqtt"), 10_000);
    broker.cut();
    await until(
      "the broker after a cut",
      () => sessions.transports.filter((each) => each === "mqtt").length >= 3,
      10_000,
    );
    grpc.target(server.port);
    await until("gRPC at last", carriedBy("grpc"), 10_000);
    feeding.on = false;
    await feed;
    await until("every row", () => sessions.bodies(EVENTS).length >= appended, 20_000);
    expect(sessions.bodies(EVENTS).map((body) => body.replace(/\.+$/, ""))).toEqual(
      Array.from({ length: appended }, (_, n) => `row ${n + 1}`),
    );
    expect(store.renewals).toEqual([]);
    await rig.stop();
  }, 60_000);

  test("with gRPC there, the broker is not used; with the broker gone too, both reasons are told", async () => {
    rig = await start();
    await until("gRPC", carriedBy("grpc"));
    expect(rig.broker.connections).toBe(0);
    block(rig.grpc);
    block(rig.broker);
    await until("both fail", () => (rig.sync.status().lastError ?? "").includes("and over mqtt"), 10_000);
    expect(rig.sync.status().lastError).toMatch(
      /the hub at .* cannot be reached: .*; and over mqtt: the broker at/,
    );
    rig.grpc.target(rig.server.port);
    await until("gRPC", carriedBy("grpc"), 10_000);
    await rig.stop();
  }, 30_000);
});

describe("which way", () => {
  let grpc: { error: HoldfastError | undefined; tries: number };
  let mqttTries: number;
  const never = { [Symbol.asyncIterator]: () => ({ next: () => new Promise<never>(() => {}) }) };
  const session = () =>
    ({ welcome: {}, frames: never, closed: new Promise(() => {}), close() {} }) as unknown as Session;
  const make = (failoverAfterMs: number) =>
    new FailoverTransport({
      preferred: {
        name: "grpc",
        probe: async () => {},
        connect: async () => {
          grpc.tries++;
          if (grpc.error) throw grpc.error;
          return session();
        },
      },
      other: { name: "mqtt", connect: async () => (mqttTries++, session()) },
      failoverAfterMs,
      clock,
      ids,
      log,
    });
  const connect = (transport: FailoverTransport, signal = new AbortController().signal) =>
    transport.connect(helloOf(AGENT_ID), signal);

  beforeEach(() => {
    grpc = { error: new HoldfastError("unreachable", "nobody there"), tries: 0 };
    mqttTries = 0;
  });

  test("the first failure is told at once, and the wait is not longer than said", async () => {
    const transport = make(300);
    const started = performance.now();
    await expect(connect(transport)).rejects.toThrow("nobody there");
    await connect(transport);
    expect(performance.now() - started).toBeGreaterThanOrEqual(295);
    expect(transport.name).toBe("mqtt");
    expect(grpc.tries).toBeGreaterThan(1);
  });

  test("a hub that refuses has answered: the other way is not tried for it", async () => {
    const transport = make(300);
    grpc.error = new HoldfastError("unauthenticated", "revoked");
    await expect(connect(transport)).rejects.toThrow("revoked");
    await expect(connect(transport)).rejects.toThrow("revoked");
    expect(mqttTries).toBe(0);
  });

  test("one that stops does not wait", async () => {
    const transport = make(60_000);
    await expect(connect(transport)).rejects.toThrow("nobody there");
    const abort = new AbortController();
    const connecting = connect(transport, abort.signal);
    abort.abort(new Error("stopping"));
    await expect(connecting).rejects.toThrow("stopping");
  });
});
