import { expect, test } from "bun:test";
import { systemClock } from "../../core/clock.ts";
import { systemIds } from "../../core/ids.ts";
import { silentLogger } from "../../core/logger.ts";
import type { HostFacts } from "../../model/agent-status.ts";
import { MemoryOutboxStore } from "../../testing/memory-outbox-store.ts";
import { until } from "../../testing/until.ts";
import { createOutbox } from "../outbox/outbox.ts";
import { startSync } from "./start-sync.ts";

test("an agent that is not enrolled starts, says so in its status, counts its lag, and stops", async () => {
  const store = new MemoryOutboxStore();
  store.append(2, "row 1", "row 2");
  const sync = startSync({
    url: "grpcs://127.0.0.1:1",
    certificates: "/nonexistent",
    heartbeatMs: 1000,
    agent: { id: "web-01", labels: {} },
    outbox: createOutbox({ store, log: silentLogger() }),
    facts: () => ({}) as HostFacts,
    status: () => ({}),
    clock: systemClock(),
    ids: systemIds(),
    log: silentLogger(),
  });
  await until("offline", () => sync.status().state === "offline");
  expect(sync.status().lastError).toContain("this agent is not enrolled");
  await until("the lag", () => sync.status().lagRows === 2);
  expect(sync.status()).toMatchObject({ transport: null, hubId: null, clockOffsetMs: null, reconnects: 0 });
  await sync.stop();
});

test("a bad address is an error at once, not a state", () => {
  const options = { url: "http://hub", certificates: "/nonexistent", clock: systemClock() };
  expect(() => startSync(options as never)).toThrow("is not a hub's address");
  const broker = { ...options, url: "grpcs://hub", mqtt: { url: "http://broker", failoverAfterMs: 1 } };
  expect(() => startSync(broker as never)).toThrow("is not a broker's address");
});

test("without a connection grpc-js is not loaded, nor what speaks MQTT", async () => {
  const script = `
    const { startSync } = await import("${import.meta.dir}/start-sync.ts");
    await import("${import.meta.dir}/../outbox/outbox.ts");
    if (typeof startSync !== "function") process.exit(2);
    const loaded = [...Object.keys(require.cache)].filter((path) => /grpc-js|peculiar|reflect-metadata|node_modules.(mqtt|cbor-x)/.test(path));
    if (loaded.length > 0) { console.error(loaded[0]); process.exit(1); }
    await import("@grpc/grpc-js");
    if (!Object.keys(require.cache).some((path) => path.includes("grpc-js"))) process.exit(3);`;
  const child = Bun.spawn([process.execPath, "-e", script], { cwd: import.meta.dir, stderr: "pipe" });
  const said = await new Response(child.stderr).text();
  expect([await child.exited, said]).toEqual([0, ""]);
});
