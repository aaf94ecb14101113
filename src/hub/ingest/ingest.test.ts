import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "../../core/clock.ts";
import { systemIds } from "../../core/ids.ts";
import { createLogger } from "../../core/logger.ts";
import { renderMetrics } from "../../core/metrics.ts";
import type { RecordBatch } from "../../model/record.ts";
import { openHubStore, type SqlHubStore } from "../store/hub-store.ts";
import { events, joined, StreamBuilder } from "../store/test-batches.ts";
import { Ingest } from "./ingest.ts";

let folder: string;
let store: SqlHubStore;
let ingest: Ingest;
let lines: Record<string, unknown>[];

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "hub-ingest-"));
  const clock = systemClock();
  store = await openHubStore({ file: join(folder, "hub.db"), clock, ids: systemIds() });
  lines = [];
  const sink = { write: (line: string) => void lines.push(JSON.parse(line) as Record<string, unknown>) };
  const log = createLogger({ sinks: [sink], level: () => "debug", wall: clock.wall });
  ingest = new Ingest({ store, clock, log });
});
afterEach(async () => {
  await store.close();
  rmSync(folder, { recursive: true });
});

describe("ingest", () => {
  test("counts what it took, by class, and what came twice", async () => {
    const stream = new StreamBuilder();
    const one = stream.next([...events("a", 3), { class: 99, body: "x" }]);
    const two = stream.next([{ body: "{broken" }]);
    await ingest.records("web-01", one);
    await ingest.records("web-01", joined(one, two));
    const { text } = await renderMetrics(ingest.metrics());
    expect(text).toContain('holdfast_hub_records_ingested_total{class="event"} 4');
    expect(text).toContain('holdfast_hub_records_ingested_total{class="other"} 1');
    expect(text).toContain("holdfast_hub_records_duplicate_total 4");
    expect(text).toContain("holdfast_hub_records_unreadable_total 1");
    expect(text).toContain("holdfast_hub_ingest_seconds_count 2");
    expect(lines).toMatchObject([{ level: "warn", records: 1 }]);
  });

  test("tells of gaps and forks", async () => {
    const stream = new StreamBuilder();
    const base = stream.next(events("a", 2));
    const other = stream.copy();
    const missed = stream.next(events("b", 1));
    expect((await ingest.records("web-01", missed)).kind).toBe("gap");
    await ingest.records("web-01", base);
    await ingest.records("web-01", missed);
    expect((await ingest.records("web-01", other.next(events("c", 1)))).kind).toBe("fork");
    expect(lines).toMatchObject([
      { level: "warn", agent: "web-01", expected: 1, first: 3 },
      { level: "error", agent: "web-01", cursor: 3, message: expect.stringContaining("forked") },
    ]);
    const { text } = await renderMetrics(ingest.metrics());
    expect(text).toContain("holdfast_hub_ingest_gaps_total 1");
    expect(text).toContain("holdfast_hub_ingest_forks_total 1");
  });

  test("commits batches that are handed in at once in the order of the calls", async () => {
    const stream = new StreamBuilder();
    const batches = Array.from({ length: 16 }, (_, n) => stream.next(events(`b${n}`, 10)));
    const outcomes = await Promise.all(batches.map((batch) => ingest.records("web-01", batch)));
    expect(outcomes.map((outcome) => [outcome.kind, outcome.cursor.number])).toEqual(
      batches.map((_, n) => ["ack", (n + 1) * 10]),
    );
  });

  test.each<[string, Partial<RecordBatch>]>([
    ["no rows", { records: [] }],
    ["a number below 1", { first: 0 }],
    ["a number out of range", { first: Number.MAX_SAFE_INTEGER }],
    ["no lane", { lane: 0 }],
    ["a short hash", { prevHash: new Uint8Array(31) }],
    ["a long epoch", { epoch: "x".repeat(65) }],
    ["a class over a byte", { records: [{ number: 1, class: 256, body: Buffer.from("{}") }] }],
    ["another last hash", { lastHash: new Uint8Array(32) }],
  ])("refuses a batch with %s", async (_name, wrong) => {
    const batch = { ...new StreamBuilder().next(events("a", 1)), ...wrong };
    await expect(ingest.records("web-01", batch)).rejects.toMatchObject({ code: "invalid" });
    expect((await store.counts()).records).toBe(0);
  });
});
