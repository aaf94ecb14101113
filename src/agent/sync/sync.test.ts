import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { type Clock, systemClock } from "../../core/clock.ts";
import { HoldfastError } from "../../core/errors.ts";
import { systemIds } from "../../core/ids.ts";
import { createLogger, silentLogger } from "../../core/logger.ts";
import type { HostFacts } from "../../model/agent-status.ts";
import type { Transport } from "../../protocol/transport.ts";
import { type ByteProxy, startByteProxy } from "../../testing/byte-proxy.ts";
import { certificatesFolder, removeFolder, startTestServer } from "../../testing/grpc-rig.ts";
import { LoopbackHub } from "../../testing/loopback-transport.ts";
import { MemoryOutboxStore } from "../../testing/memory-outbox-store.ts";
import { MemorySessions } from "../../testing/memory-sessions.ts";
import { createTestCa } from "../../testing/test-ca.ts";
import { until } from "../../testing/until.ts";
import { createOutbox } from "../outbox/outbox.ts";
import { grpcTransport } from "./grpc-transport.ts";
import { Sync, type SyncOptions } from "./sync.ts";

const EVENTS = 2;
const ca = await createTestCa();
let certificates: string;
beforeAll(async () => {
  certificates = await certificatesFolder(ca.certificate, await ca.agent("web-01"));
});
afterAll(() => removeFolder(certificates));

function start(transport: Transport, store: MemoryOutboxStore, options: Partial<SyncOptions> = {}) {
  const sync = new Sync({
    transport,
    outbox: createOutbox({ store, log: silentLogger() }),
    agent: { id: "web-01", labels: { role: "web" } },
    facts: () => ({ hostname: "h" }) as HostFacts,
    status: () => ({ ok: true }),
    heartbeatMs: 20,
    clock: systemClock(),
    ids: systemIds(),
    log: silentLogger(),
    backoff: { kind: "exponential", initialMs: 5, maxMs: 40 },
    ...options,
  });
  const abort = new AbortController();
  const running = sync.run(abort.signal);
  return {
    sync,
    stop: async () => {
      abort.abort(new Error("stopping"));
      await running;
    },
  };
}

const overGrpc = (port: number) =>
  grpcTransport({
    url: `grpcs://127.0.0.1:${port}`,
    certificates,
    clock: systemClock(),
    connectTimeoutMs: 2000,
  });
const rows = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, n) => `row ${from + n}`);

/** Small deterministic generator, so that a failure can be run again. */
function seeded(seed: number): () => number {
  let state = seed;
  return () => (state = (state * 1_103_515_245 + 12_345) % 2_147_483_648) / 2_147_483_648;
}

describe("through a network that breaks", () => {
  let proxy: ByteProxy;

  test("20,000 rows over random cuts: each row once, in order", async () => {
    const sessions = new MemorySessions();
    const server = await startTestServer(ca, sessions);
    proxy = await startByteProxy({ target: server.port });
    const random = seeded(42);
    proxy.cutAfter(() => 6_000 + random() * 500_000);
    const store = new MemoryOutboxStore();
    const client = start(overGrpc(proxy.port), store);
    for (let from = 1; from <= 20_000; from += 500) {
      store.append(EVENTS, ...rows(from, from + 499).map((row) => row.padEnd(200, ".")));
      await Bun.sleep(1);
    }
    await until("every row", () => sessions.bodies(EVENTS).length >= 20_000, 20_000);
    await until("every ack", () => client.sync.status().lagRows === 0, 5000);
    expect(sessions.bodies(EVENTS).map((body) => body.replace(/\.+$/, ""))).toEqual(rows(1, 20_000));
    expect(proxy.connections).toBeGreaterThan(5);
    expect(store.renewals).toEqual([]);
    await client.stop();
    await server.drain();
    await proxy.stop();
  }, 30_000);

  test("a hub that is killed and comes back on another port with its rows", async () => {
    const sessions = new MemorySessions();
    let server = await startTestServer(ca, sessions);
    proxy = await startByteProxy({ target: server.port });
    const store = new MemoryOutboxStore();
    const client = start(overGrpc(proxy.port), store);
    store.append(EVENTS, ...rows(1, 100));
    await until("the first rows", () => sessions.bodies(EVENTS).length === 100);
    proxy.cut();
    await server.drain();
    store.append(EVENTS, ...rows(101, 200));
    await until("it is offline", () => client.sync.status().state === "offline");
    expect(client.sync.status().lastError).toBeTruthy();
    await until("the lag shows", () => client.sync.status().lagRows === 100);
    server = await startTestServer(ca, sessions);
    proxy.target(server.port);
    await until("the rest", () => sessions.bodies(EVENTS).length === 200);
    expect(sessions.bodies(EVENTS)).toEqual(rows(1, 200));
    expect(client.sync.status()).toMatchObject({ state: "online", transport: "grpc", lastError: null });
    expect(client.sync.status().reconnects).toBeGreaterThan(0);
    await client.stop();
    await server.drain();
    await proxy.stop();
  });
});

describe("histories that differ", () => {
  test("a hub restored from a backup gets the rows again that it lost", async () => {
    const sessions = new MemorySessions();
    const hub = new LoopbackHub(sessions);
    const store = new MemoryOutboxStore();
    const client = start(hub.transport("web-01"), store);
    store.append(EVENTS, ...rows(1, 1000));
    await until("all", () => client.sync.status().state === "online" && client.sync.status().lagRows === 0);
    const [held] = [...sessions.streams.values()];
    held!.bodies.length = 300;
    held!.hashes.length = 300;
    hub.kill();
    await until("all again", () => sessions.bodies(EVENTS).length === 1000);
    expect(sessions.bodies(EVENTS)).toEqual(rows(1, 1000));
    expect(store.renewals).toEqual([]);
    await client.stop();
  });

  test("an agent restored from a backup begins a new epoch, and nothing of either history is lost", async () => {
    const sessions = new MemorySessions();
    const hub = new LoopbackHub(sessions);
    const store = new MemoryOutboxStore();
    store.append(EVENTS, ...rows(1, 50));
    const first = start(hub.transport("web-01"), store);
    await until("all", () => first.sync.status().state === "online" && first.sync.status().lagRows === 0);
    const copy = store.copy();
    store.append(EVENTS, ...rows(51, 80));
    await until("the rest", () => sessions.bodies(EVENTS).length === 80);
    await first.stop();

    copy.append(EVENTS, "other 51", "other 52");
    const second = start(hub.transport("web-01"), copy);
    await until("the new epoch", () => sessions.streams.size === 2);
    await until("its rows", () => sessions.bodies(EVENTS).length === 82);
    expect(copy.renewals).toHaveLength(1);
    expect(copy.renewals[0]!.held).toEqual([{ lane: EVENTS, segment: 1, number: 50 }]);
    expect(sessions.bodies(EVENTS)).toEqual([...rows(1, 80), "other 51", "other 52"]);
    expect(sessions.hellos.at(-1)!.epoch).toBe("epoch-2");
    await second.stop();
  });

  test("a fork that the hub finds in the middle of a session: new epoch, both kept", async () => {
    const sessions = new MemorySessions();
    const hub = new LoopbackHub(sessions);
    const store = new MemoryOutboxStore();
    store.append(EVENTS, ...rows(1, 10));
    const client = start(hub.transport("web-01"), store);
    await until(
      "the first",
      () => client.sync.status().state === "online" && client.sync.status().lagRows === 0,
    );
    const [held] = [...sessions.streams.values()];
    held!.bodies.push("an impostor's row");
    held!.hashes.push(new Uint8Array(32).fill(9));
    store.append(EVENTS, "row 11");
    await until("the new epoch", () => sessions.streams.size === 2);
    expect(store.renewals[0]!.reason).toContain("same number, other hash");
    expect(store.renewals[0]!.held).toEqual([{ lane: EVENTS, segment: 1, number: 10 }]);
    await until("the row", () => sessions.bodies(EVENTS).at(-1) === "row 11");
    await client.stop();
  });
});

describe("the session", () => {
  test("heartbeats go on while the hub does not commit, and carry the status", async () => {
    const sessions = new MemorySessions();
    let open!: () => void;
    const gate = new Promise<void>((resolve) => (open = resolve));
    sessions.beforeIngest = () => gate;
    const store = new MemoryOutboxStore();
    store.append(EVENTS, ...rows(1, 20));
    const client = start(new LoopbackHub(sessions).transport("web-01"), store);
    await until("three heartbeats", () => sessions.heartbeats.length >= 3);
    expect(sessions.heartbeats.map(({ sequence }) => sequence).slice(0, 3)).toEqual([1n, 2n, 3n]);
    expect(JSON.parse(sessions.heartbeats[0]!.status)).toEqual({ ok: true });
    open();
    await client.stop();
  });

  test("stop waits for what is under way, and takes nothing new", async () => {
    const sessions = new MemorySessions();
    sessions.beforeIngest = () => Bun.sleep(100);
    const store = new MemoryOutboxStore();
    const client = start(new LoopbackHub(sessions).transport("web-01"), store);
    store.append(EVENTS, ...rows(1, 10));
    await until(
      "it is under way",
      () => client.sync.status().state === "online" && client.sync.status().lagRows === 10,
    );
    await Bun.sleep(20);
    await client.stop();
    expect((await store.streams())[0]!.acknowledged).toBe(10);
    expect(client.sync.status().state).toBe("offline");
  });

  test("stop while the hub is away is immediate", async () => {
    const client = start(overGrpc(1), new MemoryOutboxStore(), {
      backoff: { kind: "fixed", initialMs: 60_000, maxMs: 60_000 },
    });
    await until("offline", () => client.sync.status().state === "offline");
    const started = performance.now();
    await client.stop();
    expect(performance.now() - started).toBeLessThan(200);
  });

  test("the hub's retry_after is kept to", async () => {
    const sessions = new MemorySessions();
    let tries = 0;
    sessions.beforeIngest = async () => {
      tries++;
      throw new HoldfastError("exhausted", "the disk is full");
    };
    const store = new MemoryOutboxStore();
    store.append(EVENTS, "row 1");
    const client = start(new LoopbackHub(sessions).transport("web-01"), store);
    await until("offline", () => client.sync.status().state === "offline");
    expect(client.sync.status().lastError).toContain("the disk is full");
    await Bun.sleep(150);
    expect(tries).toBe(1);
    await client.stop();
  });

  test("an outage is told once in the log, not at each try", async () => {
    const lines: string[] = [];
    const log = createLogger({
      sinks: [{ write: (line) => lines.push(line) }],
      level: () => "info",
      wall: () => 0,
    });
    let tries = 0;
    const transport: Transport = {
      name: "none",
      connect: async () => {
        tries++;
        throw new HoldfastError("unreachable", "the hub cannot be reached");
      },
    };
    const client = start(transport, new MemoryOutboxStore(), { log });
    await until("ten tries", () => tries >= 10);
    await client.stop();
    expect(lines.length).toBe(1);
    expect(lines[0]).toContain("offline: the hub cannot be reached");
  });
});

describe("clocks", () => {
  const withWall = (offsetMs: number) => {
    const clock = systemClock();
    const trusted: number[] = [];
    const shifted: Clock = {
      mono: () => clock.mono(),
      wall: () => clock.wall() + offsetMs,
      trusted: () => clock.trusted(),
      trust: (ms) => void trusted.push(ms),
      after: (ms, callback) => clock.after(ms, callback),
      sleep: (ms, signal) => clock.sleep(ms, signal),
    };
    return { clock: shifted, trusted };
  };

  test.each([
    ["ten minutes behind", -600_000, "is 600 s behind the hub's"],
    ["ten minutes ahead", 600_000, "is 600 s ahead of the hub's"],
    ["right", 0, null],
  ])("%s", async (_what, offsetMs, warning) => {
    const lines: string[] = [];
    const log = createLogger({
      sinks: [{ write: (line) => lines.push(line) }],
      level: () => "warn",
      wall: () => 0,
    });
    const { clock } = withWall(offsetMs);
    const client = start(new LoopbackHub(new MemorySessions()).transport("web-01"), new MemoryOutboxStore(), {
      clock,
      log,
    });
    await until("online", () => client.sync.status().state === "online");
    expect(Math.abs(client.sync.status().clockOffsetMs! + offsetMs)).toBeLessThan(1000);
    if (warning === null) expect(lines).toEqual([]);
    else expect(lines.join()).toContain(warning);
    await client.stop();
  });

  test.each([
    ["a day ahead", 86_400_000, true],
    ["ten years ahead", 3650 * 86_400_000, false],
  ])("a hub %s", async (_what, aheadMs, believed) => {
    const sessions = new MemorySessions();
    sessions.wallMs = () => Date.now() + aheadMs;
    const { clock, trusted } = withWall(0);
    const client = start(new LoopbackHub(sessions).transport("web-01"), new MemoryOutboxStore(), { clock });
    await until("online", () => client.sync.status().state === "online");
    expect(trusted.length > 0).toBe(believed);
    await client.stop();
  });
});
