import { join } from "node:path";
import { createOutbox } from "../src/agent/outbox/outbox.ts";
import { grpcTransport } from "../src/agent/sync/grpc-transport.ts";
import { Sync } from "../src/agent/sync/sync.ts";
import { systemClock } from "../src/core/clock.ts";
import { systemIds } from "../src/core/ids.ts";
import { silentLogger } from "../src/core/logger.ts";
import { Ingest } from "../src/hub/ingest/ingest.ts";
import { openHubStore } from "../src/hub/store/hub-store.ts";
import type { HostFacts } from "../src/model/agent-status.ts";
import { LANES, type RecordBatch } from "../src/model/record.ts";
import { startByteProxy } from "../src/testing/byte-proxy.ts";
import { certificatesFolder, removeFolder, startTestServer } from "../src/testing/grpc-rig.ts";
import { MemoryOutboxStore } from "../src/testing/memory-outbox-store.ts";
import { MemorySessions } from "../src/testing/memory-sessions.ts";
import { Seeded } from "../src/testing/seeded.ts";
import { createTestCa } from "../src/testing/test-ca.ts";
import { until } from "../src/testing/until.ts";
import { type Bench, median, withFolder } from "./frame.ts";

const ROUNDS = 3;
const BYTES_PER_SECOND = 1_250_000;
const ROUND_TRIP_MS = 50;
const LONG = { delayMs: ROUND_TRIP_MS / 2, bytesPerSecond: BYTES_PER_SECOND };
const PLAIN_ROWS = 20_000;
/** Compressed they are a seventh. */
const ZSTD_ROWS = 100_000;
/** A busy agent, row by row. */
const PER_SECOND = 1000;

interface Trip {
  seconds: number;
  sentBytes: number;
  rowBytes: number;
  cpuMs: number;
  batches: number;
}

/** The hub's real ingest and store behind a real sync server; its CPU is counted with the agent's. */
class StoreSessions extends MemorySessions {
  taken = 0;
  last = 0;
  constructor(
    readonly ingest: Ingest,
    capabilities: string[],
  ) {
    super();
    this.capabilities = capabilities;
  }

  override async records(agent: string, batch: RecordBatch) {
    this.taken++;
    const outcome = await this.ingest.records(agent, batch);
    this.last = outcome.cursor.number;
    return outcome;
  }
}

export const bench: Bench = {
  about:
    "rows from an agent's outbox through a real session over mTLS gRPC into the hub's store: over a link of 10 Mbit/s with 50 ms there and back, and over loopback, as they are and compressed",
  async run({ folder, progress }) {
    const rounds: Record<"plain" | "zstd" | "near" | "nearZstd" | "busy", Trip>[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      const trip = (rows: number, zstd: boolean, link: object) =>
        withFolder((inside) => travel(inside, rows, zstd ? ["zstd"] : [], link), folder);
      rounds.push({
        plain: await trip(PLAIN_ROWS, false, LONG),
        zstd: await trip(ZSTD_ROWS, true, LONG),
        near: await trip(ZSTD_ROWS, false, {}),
        nearZstd: await trip(ZSTD_ROWS, true, {}),
        busy: await withFolder(
          (inside) => travel(inside, 2 * PER_SECOND, ["zstd"], LONG, PER_SECOND),
          folder,
        ),
      });
      progress(`round ${round + 1} of ${ROUNDS}`);
    }
    const of = (name: keyof (typeof rounds)[number], figure: (trip: Trip) => number) =>
      median(rounds.map((round) => figure(round[name])));
    const full = (trip: Trip) => (100 * trip.sentBytes) / trip.seconds / BYTES_PER_SECOND;
    const rate = (trip: Trip, rows: number) => rows / trip.seconds;
    const cpu = (trip: Trip) => trip.cpuMs / (trip.rowBytes / 1e6);
    return [
      {
        ...{ name: "of the long link used, rows as they are", unit: "%" as const },
        ...{ value: of("plain", full), goal: { kind: "at least" as const, value: 80 } },
      },
      { name: "of the long link used, compressed", value: of("zstd", full), unit: "%" },
      {
        ...{ name: "rows over the long link, compressed", unit: "1/s" as const },
        value: of("zstd", (trip) => rate(trip, ZSTD_ROWS)),
        baseline: { name: "as they are", value: of("plain", (trip) => rate(trip, PLAIN_ROWS)) },
        goal: { kind: "ratio at least", value: 2 },
      },
      {
        ...{ name: "rows over loopback, compressed", unit: "1/s" as const },
        value: of("nearZstd", (trip) => rate(trip, ZSTD_ROWS)),
        baseline: { name: "as they are", value: of("near", (trip) => rate(trip, ZSTD_ROWS)) },
      },
      {
        ...{ name: "CPU of both sides for a MB of rows over loopback, compressed", unit: "ms" as const },
        ...{ value: of("nearZstd", cpu), baseline: { name: "as they are", value: of("near", cpu) } },
      },
      {
        ...{ name: "bytes on the wire, compressed", unit: "KB" as const },
        value: of("nearZstd", ({ sentBytes }) => sentBytes / 1000),
        baseline: { name: "as they are", value: of("near", ({ sentBytes }) => sentBytes / 1000) },
      },
      {
        ...{ name: `rows a frame, ${PER_SECOND} a second over the long link`, unit: "" as const },
        value: of("busy", ({ batches }) => (2 * PER_SECOND) / batches),
      },
    ];
  },
};

/** All rows at once, or so many a second one by one. */
async function travel(
  folder: string,
  count: number,
  capabilities: string[],
  link: { delayMs?: number; bytesPerSecond?: number },
  perSecond?: number,
): Promise<Trip> {
  const [clock, ids, log] = [systemClock(), systemIds(), silentLogger()];
  const hub = await openHubStore({ file: join(folder, "hub.db"), clock, ids });
  const sessions = new StoreSessions(new Ingest({ store: hub, clock, log }), capabilities);
  const ca = await createTestCa();
  const server = await startTestServer(ca, sessions);
  const certificates = await certificatesFolder(ca.certificate, await ca.agent("web-01"));
  const proxy = await startByteProxy({ target: server.port, ...link });
  const store = new MemoryOutboxStore();
  const sync = new Sync({
    transport: grpcTransport({ url: `grpcs://127.0.0.1:${proxy.port}`, certificates, clock }),
    outbox: createOutbox({ ...{ store, log }, pace: { clock, bytesPerSecond: Number.POSITIVE_INFINITY } }),
    agent: { id: "web-01", labels: {} },
    facts: () => ({ hostname: "h" }) as HostFacts,
    status: () => ({}),
    heartbeatMs: 60_000,
    ...{ clock, ids, log },
  });
  const abort = new AbortController();
  const running = sync.run(abort.signal);
  await until("the session is up", () => sync.status().state === "online", 20_000);
  const rows = bodies(count);
  const from = { at: performance.now(), bytes: proxy.sentBytes, cpu: process.cpuUsage() };
  if (perSecond === undefined) store.append(LANES.events, ...rows);
  else await oneByOne(store, rows, perSecond);
  await until("all has arrived", () => sessions.last === count, 300_000);
  const cpu = process.cpuUsage(from.cpu);
  const trip = {
    seconds: (performance.now() - from.at) / 1000,
    sentBytes: proxy.sentBytes - from.bytes,
    rowBytes: rows.reduce((sum, row) => sum + row.length, 0),
    cpuMs: (cpu.user + cpu.system) / 1000,
    batches: sessions.taken,
  };
  abort.abort(new Error("done"));
  await running;
  await server.drain();
  await proxy.stop();
  await hub.close();
  await removeFolder(certificates);
  return trip;
}

async function oneByOne(store: MemoryOutboxStore, rows: string[], perSecond: number): Promise<void> {
  const began = performance.now();
  for (const [index, row] of rows.entries()) {
    const dueMs = (index / perSecond) * 1000;
    if (performance.now() - began < dueMs) await Bun.sleep(1);
    store.append(LANES.events, row);
  }
}

/** Events as a tail of a log makes them. */
function bodies(count: number): string[] {
  const random = new Seeded(1);
  return Array.from({ length: count }, (_, index) => {
    const [request, took] = [random.int(0, 1e9).toString(16), random.int(1, 900)];
    return JSON.stringify({
      ...{ specversion: "1.0", id: `019aa${random.int(0, 1e9)}${index}`, type: "log.line" },
      ...{ source: "urn:holdfast:agent:web-01/front", subject: "/var/log/app.log", severity: "warning" },
      time: new Date(1_795_235_400_000 + index * 13).toISOString(),
      data: { line: `app[${random.int(1, 9999)}]: request ${request} took ${took} ms, status 500` },
    });
  });
}
