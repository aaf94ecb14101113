/** What is under way is enough to fill a long link, also where rows are compressed: counted in bytes, never in time. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { systemClock } from "../../core/clock.ts";
import { systemIds } from "../../core/ids.ts";
import { silentLogger } from "../../core/logger.ts";
import type { HostFacts } from "../../model/agent-status.ts";
import { LANES } from "../../model/record.ts";
import { startByteProxy } from "../../testing/byte-proxy.ts";
import { certificatesFolder, removeFolder, startTestServer } from "../../testing/grpc-rig.ts";
import { MemoryOutboxStore } from "../../testing/memory-outbox-store.ts";
import { MemorySessions } from "../../testing/memory-sessions.ts";
import { Seeded } from "../../testing/seeded.ts";
import { createTestCa } from "../../testing/test-ca.ts";
import { until } from "../../testing/until.ts";
import { createOutbox } from "../outbox/outbox.ts";
import { grpcTransport } from "./grpc-transport.ts";
import { Sync } from "./sync.ts";

const ca = await createTestCa();
let certificates: string;
beforeAll(async () => {
  certificates = await certificatesFolder(ca.certificate, await ca.agent("web-01"));
});
afterAll(() => removeFolder(certificates));

/** 10 Mbit/s, 50 ms there and back. */
const BYTES_PER_SECOND = 1_250_000;
const ROUND_TRIP_MS = 50;
const UNDER_WAY = (BYTES_PER_SECOND * ROUND_TRIP_MS) / 1000;

function rows(count: number): string[] {
  const random = new Seeded(1);
  return Array.from({ length: count }, (_, index) => {
    const id = `${index}-${Math.floor(random.next() * 1e12).toString(16)}`;
    const data = {
      failures: random.int(1, 9),
      text: `request ${random.int(0, 1e9)} took ${random.int(1, 999)} ms`,
    };
    return JSON.stringify({
      specversion: "1.0",
      id,
      source: "urn:holdfast:agent:web-01/front",
      type: "probe.down",
      data,
    });
  });
}

test.each([
  ["as they are", []],
  ["compressed", ["zstd"]],
])(
  "rows %s: without an answer twice as much is sent as fits into the link",
  async (_how, capabilities) => {
    const sessions = new MemorySessions();
    sessions.capabilities = capabilities;
    const server = await startTestServer(ca, sessions);
    const proxy = await startByteProxy({
      ...{ target: server.port, delayMs: ROUND_TRIP_MS / 2, bytesPerSecond: BYTES_PER_SECOND },
    });
    const store = new MemoryOutboxStore();
    const clock = systemClock();
    const sync = new Sync({
      transport: grpcTransport({ url: `grpcs://127.0.0.1:${proxy.port}`, certificates, clock }),
      outbox: createOutbox({ store, log: silentLogger() }),
      agent: { id: "web-01", labels: {} },
      facts: () => ({ hostname: "h" }) as HostFacts,
      status: () => ({}),
      heartbeatMs: 60_000,
      ...{ clock, ids: systemIds(), log: silentLogger() },
    });
    const abort = new AbortController();
    const running = sync.run(abort.signal);
    // No row is acknowledged until so much is on its way.
    const gate = Promise.withResolvers<void>();
    sessions.beforeIngest = () => gate.promise;
    await until("the session is up", () => sync.status().state === "online", 20_000);
    const before = proxy.sentBytes;
    store.append(LANES.events, ...rows(20_000));
    await until("the link is full", () => proxy.sentBytes - before > 2 * UNDER_WAY, 20_000);
    gate.resolve();
    await until("all has arrived", () => sync.status().lagRows === 0, 60_000);
    expect(sessions.bodies(LANES.events)).toEqual(rows(20_000));
    abort.abort(new Error("stopping"));
    await running;
    await server.drain();
    await proxy.stop();
  },
  120_000,
);
