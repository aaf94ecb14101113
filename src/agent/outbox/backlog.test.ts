import { expect, test } from "bun:test";
import { systemClock } from "../../core/clock.ts";
import { silentLogger } from "../../core/logger.ts";
import { LANES, type RecordBatch } from "../../model/record.ts";
import { MemoryOutboxStore } from "../../testing/memory-outbox-store.ts";
import { until } from "../../testing/until.ts";
import { VirtualClock } from "../../testing/virtual-clock.ts";
import { heldInOrder } from "./backlog.ts";
import { createOutbox } from "./outbox.ts";
import type { OutboxOptions } from "./outbox-options.ts";
import { Pace } from "./pace.ts";
import { GATHER_MS } from "./stream-window.ts";

const SEGMENTS = new Set(["segments"] as const);
const rows = (count: number) => Array.from({ length: count }, (_, index) => `{"row":${index}}`);

function place(options: Partial<OutboxOptions> = {}) {
  const store = new MemoryOutboxStore();
  const sent: RecordBatch[] = [];
  const abort = new AbortController();
  const outbox = createOutbox({
    ...{ store, log: silentLogger(), batchRows: 10, backlog: { rows: 20, bytes: 1e6 } },
    ...options,
  });
  const pump = () =>
    outbox.pump(async (batch) => {
      sent.push(batch);
      const number = batch.first + batch.records.length - 1;
      const { epoch, lane, segment, lastHash } = batch;
      outbox.acked({ epoch, lane, segment, number, hash: lastHash });
    }, abort.signal);
  const order = () => sent.map(({ lane, segment, first }) => [lane, segment, first]);
  return { store, outbox, sent, abort, pump, order };
}

test("a large backlog is passed by fresh rows; a small one is not closed", async () => {
  const { store, outbox, sent, abort, pump, order } = place();
  store.append(LANES.results, ...rows(20));
  store.append(LANES.events, ...rows(21));
  await outbox.begin([], SEGMENTS);
  store.append(LANES.events, "fresh");
  const pumping = pump();
  await until("all is sent", () => sent.length === 6);
  abort.abort();
  await pumping;
  expect(order()).toEqual([
    [LANES.results, 1, 1],
    [LANES.results, 1, 11],
    [LANES.events, 2, 1],
    [LANES.events, 1, 1],
    [LANES.events, 1, 11],
    [LANES.events, 1, 21],
  ]);
});

test("a hub that does not know segments gets everything in one", async () => {
  const { store, outbox } = place();
  store.append(LANES.events, ...rows(100));
  await outbox.begin([], new Set());
  expect(await store.streams()).toHaveLength(1);
});

test("a batch of backlog is as much as goes in a quarter of a second, and at least a row", async () => {
  const clock = new VirtualClock();
  const { store, outbox, sent, abort, pump } = place({ pace: { clock, bytesPerSecond: 120 } });
  store.append(LANES.events, ...Array.from({ length: 21 }, () => "x".repeat(10)), "x".repeat(50));
  await outbox.begin([], SEGMENTS);
  const pumping = pump();
  for (let batch = 0; batch < 8; batch++) {
    await until("a batch", () => sent.length > batch);
    await clock.advance(1000);
  }
  expect(sent.map(({ records }) => records.length)).toEqual([3, 3, 3, 3, 3, 3, 3, 1]);
  abort.abort();
  await pumping;
});

test("backlog drains at its pace, and fresh rows do not wait for it", async () => {
  const clock = new VirtualClock();
  // Four batches of ten rows.
  const bytesPerSecond = 400;
  const { store, outbox, sent, abort, pump } = place({ pace: { clock, bytesPerSecond } });
  store.append(LANES.events, ...Array.from({ length: 40 }, () => "x".repeat(10)));
  await outbox.begin([], SEGMENTS);
  const pumping = pump();
  await until("the first batch", () => sent.length === 1);
  store.append(LANES.events, "fresh");
  await until("the fresh row", () => sent.length === 2);
  expect(sent[1]!.segment).toBe(2);
  for (let batch = 2; batch <= 4; batch++) {
    await clock.advance(249);
    expect(sent.filter(({ segment }) => segment === 1)).toHaveLength(batch - 1);
    await clock.advance(1);
    await until("the next batch", () => sent.filter(({ segment }) => segment === 1).length === batch);
  }
  abort.abort();
  await pumping;
});

test("backlog comes to its end also where time passes at every look", async () => {
  const real = systemClock();
  let late = 0;
  const clock = { mono: () => real.mono() + (late += 0.2), after: real.after.bind(real) };
  const { store, outbox, sent, abort, pump } = place({ pace: { clock, bytesPerSecond: 200_000 } });
  store.append(LANES.events, ...Array.from({ length: 3000 }, () => "x".repeat(10)));
  await outbox.begin([], SEGMENTS);
  const pumping = pump();
  await until("all is sent", () => sent.length === 300, 20_000);
  abort.abort();
  await pumping;
});

test("of two bounds for the backlog the lower one holds", async () => {
  const clock = new VirtualClock();
  const pace = new Pace({ clock, bytesPerSecond: 1000 });
  for (const [asked, waitMs] of [
    [0, 1000],
    [5000, 1000],
    [500, 2000],
  ] as const) {
    pace.asked(asked);
    pace.took(1000);
    expect(pace.waitMs()).toBeCloseTo(waitMs);
    await clock.advance(waitMs);
    expect(pace.waitMs()).toBe(0);
  }
});

test("where the hub knows later segments but has lost the end of one that is forgotten here, it is another history", async () => {
  const { store, outbox } = place();
  store.append(LANES.events, ...rows(3));
  await store.closeSegments([LANES.events]);
  store.append(LANES.events, ...rows(2));
  const [old] = await store.streams();
  store.forget(LANES.events, 1);
  const cursor = { epoch: outbox.epoch, lane: LANES.events, segment: 1, number: 3, hash: old!.lastHash };
  await outbox.begin([cursor], SEGMENTS);
  for (const cursors of [[], [{ ...cursor, number: 2, hash: new Uint8Array(32) }]]) {
    const begun = outbox.begin(cursors, SEGMENTS);
    expect(begun).rejects.toMatchObject({ code: "conflict", message: expect.stringContaining("segment 1") });
    await begun.catch(() => {});
  }
});

test("a new epoch sends everything behind the first row of a lane that the hub does not hold", () => {
  const stream = (lane: number, segment: number, last: number, acknowledged: number) => ({
    ...{ lane, segment, last, acknowledged },
  });
  const streams = [stream(1, 2, 9, 9), stream(1, 1, 5, 5), stream(2, 1, 5, 3), stream(2, 2, 9, 9)];
  const hub = new Map([
    ["1/1", 5],
    ["1/2", 8],
    ["2/1", 5],
    ["2/2", 9],
  ]);
  expect(heldInOrder(streams, hub)).toEqual([
    { lane: 1, segment: 1, number: 5 },
    { lane: 1, segment: 2, number: 8 },
    { lane: 2, segment: 1, number: 3 },
    { lane: 2, segment: 2, number: 0 },
  ]);
});

test("few rows wait for more while others are under way, and not on an idle link", async () => {
  const clock = new VirtualClock();
  const { store, outbox, abort } = place({ pace: { clock, bytesPerSecond: 1e9 }, batchRows: 500 });
  const sent: RecordBatch[] = [];
  await outbox.begin([], SEGMENTS);
  const pumping = outbox.pump(async (batch) => void sent.push(batch), abort.signal);
  store.append(LANES.events, "first");
  await until("the first row goes at once", () => sent.length === 1);
  store.append(LANES.events, "second");
  await clock.advance(GATHER_MS / 2);
  store.append(LANES.events, "third");
  await clock.advance(GATHER_MS / 2 - 1);
  expect(sent).toHaveLength(1);
  await clock.advance(1);
  await until("both in one batch", () => sent[1]?.records.length === 2);
  store.append(LANES.events, ...rows(64));
  await until("as many as are worth it go at once", () => sent[2]?.records.length === 64);
  const { epoch, lane, segment, lastHash } = sent[2]!;
  outbox.acked({ epoch, lane, segment, number: 67, hash: lastHash });
  store.append(LANES.events, "on an idle link");
  await until("and so does one alone", () => sent[3]?.records.length === 1);
  abort.abort();
  await pumping;
});
