import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Clock, systemClock } from "../../core/clock.ts";
import { systemIds } from "../../core/ids.ts";
import { createLogger, silentLogger } from "../../core/logger.ts";
import type { Hello } from "../../protocol/gen/holdfast/v1/sync.ts";
import { openHubStore, type SqlHubStore } from "../store/hub-store.ts";
import { events, StreamBuilder } from "../store/test-batches.ts";
import { Fleet } from "./fleet.ts";

let folder: string;
let store: SqlHubStore;
let fleet: Fleet;
let lines: Record<string, unknown>[];
let monoMs: number;
const real = systemClock();
const clock: Clock = {
  ...real,
  mono: () => monoMs,
  wall: () => 1_700_000_000_000,
  trusted: () => 1_700_000_000_000,
};
const hello = (extra: Partial<Hello> = {}): Hello => ({
  protocol: 1,
  capabilities: [],
  agentId: "web-01",
  epoch: "e1",
  labels: { role: "web" },
  facts: '{"hostname":"h","version":"0.1.0"}',
  wallMs: 1_700_000_000_500n,
  ...extra,
});
const beat = (extra: object = {}) => ({
  sequence: 1n,
  wallMs: 1_699_999_999_000n,
  status: '{"checks":[]}',
  ...extra,
});

beforeEach(async () => {
  monoMs = 0;
  lines = [];
  folder = mkdtempSync(join(tmpdir(), "hub-fleet-"));
  store = await openHubStore({ file: join(folder, "hub.db"), clock: real, ids: systemIds() });
  const sink = { write: (line: string) => void lines.push(JSON.parse(line) as Record<string, unknown>) };
  const log = createLogger({ sinks: [sink], level: () => "debug", wall: clock.wall });
  fleet = new Fleet({ store, clock, log });
  await store.addJoinToken({ hash: "t", expiresMs: 9, uses: 1, createdMs: 0 });
  await store.enroll({
    tokenHash: "t",
    nowMs: 1,
    agent: { id: "web-01", publicKey: "k", certificateSerial: "s", certificateExpiresMs: 9, labels: {} },
  });
});
afterEach(async () => {
  await store.close();
  rmSync(folder, { recursive: true });
});

describe("the fleet", () => {
  test("welcomes with the cursors of the epoch and remembers what was told", async () => {
    const batch = new StreamBuilder("e1").next(events("a", 2));
    await store.ingest("web-01", batch, 1);
    const welcome = await fleet.hello("web-01", hello());
    expect(welcome).toMatchObject({
      protocol: 1,
      hubId: store.hubId,
      epoch: store.epoch,
      wallMs: 1_700_000_000_000n,
      cursors: [{ epoch: "e1", lane: 2, segment: 1, number: 2n, hash: Buffer.from(batch.lastHash) }],
    });
    expect(welcome.backlogBytesPerSecond).toBe(0n);
    const bounded = new Fleet({ store, clock, log: silentLogger(), backlogBytesPerSecond: 1000 });
    expect((await bounded.hello("web-01", hello())).backlogBytesPerSecond).toBe(1000n);
    expect(await store.agent("web-01")).toMatchObject({
      facts: { hostname: "h" },
      labels: { role: "web" },
      clockOffsetMs: -500,
      lastHeartbeatMs: null,
    });
    await fleet.heartbeat("web-01", beat());
    expect(await store.agent("web-01")).toMatchObject({
      status: { checks: [] },
      clockOffsetMs: 1000,
      lastHeartbeatMs: 1_700_000_000_000,
    });
  });

  test("is online, late after three missed heartbeats, online again, offline when the session ends", async () => {
    const status = () => fleet.status({ id: "web-01" });
    expect([status(), fleet.connected("web-01")]).toEqual(["offline", false]);
    await fleet.hello("web-01", hello());
    expect([status(), fleet.connected("web-01")]).toEqual(["online", true]);
    monoMs += 90_000;
    expect(status()).toBe("online");
    monoMs += 1;
    expect(status()).toBe("late");
    await fleet.heartbeat("web-01", beat());
    expect(status()).toBe("online");
    fleet.closed("web-01");
    expect([status(), fleet.connected("web-01")]).toEqual(["offline", false]);
  });

  test("does not let in who is not enrolled here", async () => {
    await expect(fleet.hello("db-01", hello())).rejects.toMatchObject({ code: "unauthenticated" });
    expect(fleet.connected("db-01")).toBe(false);
  });

  test("refuses facts and status that are no JSON objects", async () => {
    for (const facts of ["[]", "nope", "3", "null"]) {
      await expect(fleet.hello("web-01", hello({ facts }))).rejects.toMatchObject({ code: "invalid" });
    }
    await expect(fleet.heartbeat("web-01", beat({ status: "{" }))).rejects.toMatchObject({ code: "invalid" });
  });

  test("takes an agent whose clock is far off, and says so", async () => {
    await fleet.hello("web-01", hello({ wallMs: 0xffff_ffff_ffff_ffffn }));
    expect(lines).toMatchObject([{ level: "warn", agent: "web-01", offsetMs: -1e15 }]);
    expect((await store.agent("web-01"))!.clockOffsetMs).toBe(-1e15);
  });
});
