import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { createServer } from "node:net";
import { systemClock } from "../../core/clock.ts";
import { systemIds } from "../../core/ids.ts";
import { silentLogger } from "../../core/logger.ts";
import type { HostFacts } from "../../model/agent-status.ts";
import { startByteProxy } from "../../testing/byte-proxy.ts";
import { certificatesFolder, removeFolder } from "../../testing/grpc-rig.ts";
import { joinMqttHub, type Mosquitto, startMosquitto, startMqttHub } from "../../testing/mqtt-rig.ts";
import { createTestCa } from "../../testing/test-ca.ts";
import { MemoryOutboxStore } from "../../testing/memory-outbox-store.ts";
import { MemorySessions } from "../../testing/memory-sessions.ts";
import { Seeded } from "../../testing/seeded.ts";
import { AGENT_ID, helloOf, transportContract } from "../../testing/transport-contract.ts";
import { until } from "../../testing/until.ts";
import { createOutbox } from "../outbox/outbox.ts";
import { mqttTransport, type MqttTransportOptions } from "./mqtt-transport.ts";
import { Sync } from "./sync.ts";

const clock = systemClock();
const ca = await createTestCa();
let certificates: string;
let mosquitto: Mosquitto;

beforeAll(async () => {
  certificates = await certificatesFolder(ca.certificate, await ca.agent(AGENT_ID));
  mosquitto = await startMosquitto();
});
afterAll(async () => {
  await mosquitto.stop();
  await removeFolder(certificates);
});

const transportTo = (url: string, options: Partial<MqttTransportOptions> = {}) =>
  mqttTransport({ url, certificates, clock, ids: systemIds(), log: silentLogger(), ...options });

transportContract("MQTT with the broker in the hub", async (sessions) => {
  const hub = await startMqttHub(ca, sessions);
  const proxy = await startByteProxy({ target: hub.port });
  return {
    transport: transportTo(`mqtts://127.0.0.1:${proxy.port}`),
    cut: hub.cut,
    kill: () => proxy.cut(),
    stop: async () => {
      await hub.server.drain();
      await proxy.stop();
    },
  };
});

transportContract("MQTT with Mosquitto", async (sessions) => {
  const hub = await joinMqttHub(ca, sessions, mosquitto.port);
  const proxy = await startByteProxy({ target: mosquitto.port });
  return {
    transport: transportTo(`mqtt://127.0.0.1:${proxy.port}`),
    cut: hub.cut,
    kill: () => proxy.cut(),
    stop: async () => {
      await hub.server.drain();
      await proxy.stop();
    },
  };
});

describe("through a network that breaks", () => {
  test("20,000 rows over cuts at any byte: each row once, in order", async () => {
    const sessions = new MemorySessions();
    const hub = await startMqttHub(ca, sessions);
    const proxy = await startByteProxy({ target: hub.port });
    const random = new Seeded(7);
    proxy.cutAfter(() => random.int(8_000, 500_000));
    const store = new MemoryOutboxStore();
    const sync = new Sync({
      transport: transportTo(`mqtts://127.0.0.1:${proxy.port}`),
      outbox: createOutbox({ store, log: silentLogger() }),
      agent: { id: AGENT_ID, labels: {} },
      facts: () => ({ hostname: "h" }) as HostFacts,
      status: () => ({}),
      heartbeatMs: 20,
      clock,
      ids: systemIds(),
      log: silentLogger(),
      backoff: { kind: "exponential", initialMs: 5, maxMs: 40 },
    });
    const abort = new AbortController();
    const running = sync.run(abort.signal);
    const row = (n: number) => `row ${n}`.padEnd(200, ".");
    for (let from = 1; from <= 20_000; from += 500) {
      store.append(2, ...Array.from({ length: 500 }, (_, n) => row(from + n)));
      await Bun.sleep(1);
    }
    await until("every row", () => sessions.bodies(2).length >= 20_000, 40_000);
    await until("every ack", () => sync.status().lagRows === 0, 10_000);
    expect(sessions.bodies(2)).toEqual(Array.from({ length: 20_000 }, (_, n) => row(n + 1)));
    expect(proxy.connections).toBeGreaterThan(5);
    expect(store.renewals).toEqual([]);
    abort.abort(new Error("stopping"));
    await running;
    await hub.server.drain();
    await proxy.stop();
  }, 60_000);

  test("a connection that is open and passes nothing on ends on both sides", async () => {
    const sessions = new MemorySessions();
    const hub = await startMqttHub(ca, sessions, { keepaliveMs: 100 });
    const proxy = await startByteProxy({ target: hub.port });
    const session = await transportTo(`mqtts://127.0.0.1:${proxy.port}`, { keepaliveMs: 100 }).connect(
      helloOf(AGENT_ID),
      new AbortController().signal,
    );
    // Kept alive while it is quiet.
    await Bun.sleep(600);
    expect(sessions.left).toEqual([]);
    proxy.pause();
    expect(await session.closed).toMatchObject({ by: "network", code: "unreachable" });
    await until("the hub notices", () => sessions.left.length === 1);
    proxy.resume();
    await hub.server.drain();
    await proxy.stop();
  }, 20_000);

  test("a broker that takes the connection and says nothing, one that refuses, and one that is none", async () => {
    const silent = createServer(() => {});
    await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", resolve));
    const http = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch: () => new Response("hello") });
    const port = (silent.address() as { port: number }).port;
    for (const [url, text] of [
      [`mqtt://127.0.0.1:${port}`, "within 0.4 s"],
      [`mqtts://127.0.0.1:${port}`, "within 0.4 s"],
      ["mqtt://127.0.0.1:1", "ECONNREFUSED"],
      ["mqtts://127.0.0.1:1", "ECONNREFUSED"],
      ["mqtts://no-such-broker.invalid", "cannot be used"],
      [`mqtt://127.0.0.1:${http.port}`, "cannot be used"],
    ] as const) {
      const error = await transportTo(url, { connectTimeoutMs: 400 })
        .connect(helloOf(AGENT_ID), new AbortController().signal)
        .catch((thrown) => thrown);
      expect([url, error.code]).toEqual([url, "unreachable"]);
      // A resolver may take longer than that to say that there is no such name.
      expect(error.message).toMatch(text === "cannot be used" ? /cannot be used|within 0.4 s/ : text);
    }
    silent.close();
    await http.stop(true);
  }, 20_000);
});
