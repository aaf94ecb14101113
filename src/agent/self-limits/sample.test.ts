import { expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createSampler, ownSpent } from "./sample.ts";

const MB = 1024 ** 2;

test("memory and time of agent and workers add up; time is the mean since the last look", () => {
  let now = 1000;
  let own = { memoryBytes: 60 * MB, cpuMs: 500 };
  let workers = { memoryBytes: 40 * MB, cpuMs: 300 };
  const sample = createSampler({
    database: "/nonexistent/agent.db",
    logFolders: [],
    workers: () => workers,
    clock: { mono: () => now },
    own: () => own,
  });
  expect(sample()).toEqual({ memory: 100 * MB, cpu: 0, disk: 0 });
  now += 1000;
  own = { ...own, cpuMs: 700 };
  workers = { ...workers, cpuMs: 1100 };
  expect(sample().cpu).toBe(1);
  // A worker that has ended is among the children of the agent now.
  now += 1000;
  own = { ...own, cpuMs: 1800 };
  workers = { memoryBytes: 0, cpuMs: 0 };
  expect(sample()).toEqual({ memory: 60 * MB, cpu: 0, disk: 0 });
});

test("the disk's share is the store with its side files, and the logs", () => {
  const folder = mkdtempSync(join(tmpdir(), "holdfast-sample-"));
  try {
    for (const [name, bytes] of [
      ["agent.db", 4096],
      ["agent.db-wal", 1000],
      ["agent.log", 30],
      ["agent.log.1", 7],
    ] as const)
      writeFileSync(join(folder, name), "x".repeat(bytes));
    const logs = mkdtempSync(join(folder, "logs-"));
    writeFileSync(join(logs, "agent.log"), "x".repeat(37));
    const sample = createSampler({
      database: join(folder, "agent.db"),
      logFolders: [logs],
      workers: () => ({ memoryBytes: 0, cpuMs: 0 }),
      clock: { mono: () => 0 },
    });
    expect(sample().disk).toBe(4096 + 1000 + 37);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test("this process: memory that grows shows, and so does time", async () => {
  const before = ownSpent();
  const kept = Buffer.alloc(64 * MB, 1);
  const started = process.cpuUsage();
  while (process.cpuUsage(started).user < 100_000) kept[0] = (kept[0]! + 1) % 256;
  const after = ownSpent();
  expect(after.memoryBytes - before.memoryBytes).toBeGreaterThan(50 * MB);
  expect(after.cpuMs - before.cpuMs).toBeGreaterThanOrEqual(80);
  // Of a child that has ended.
  const spin = Bun.spawn(["sh", "-c", "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done"]);
  await spin.exited;
  expect(ownSpent().cpuMs).toBeGreaterThan(after.cpuMs + 20);
}, 60_000);
