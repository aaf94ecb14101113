import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { LANES, type LossRecordBody, RECORD_CLASSES, type RecordBatch } from "../../model/record.ts";
import { chainHashes, sameHash } from "../../protocol/chain.ts";
import { parseLoss } from "../../protocol/loss.ts";
import type { AgentStore } from "./port.ts";
import type { OutboxCap } from "./retention.ts";
import {
  commitOf,
  failure,
  type Fixture,
  fixture,
  keep,
  numbered,
  sent,
  SOURCE,
  startOf,
} from "./store-fixtures.ts";

let place: Fixture;
beforeEach(() => {
  place = fixture();
});
afterEach(() => place.end());

const CAP: OutboxCap = { rows: 100, bytes: Number.MAX_SAFE_INTEGER, ahead: 10, least: 20 };
const open = (cap: Partial<OutboxCap> = {}, more: object = {}) =>
  place.open({ retention: { outbox: { ...CAP, ...cap }, ...more } });

/** Every row of a lane, over as many batches as it takes; throws where the chain does not join. */
async function rowsOf(store: AgentStore, lane: number): Promise<RecordBatch["records"]> {
  const records: RecordBatch["records"] = [];
  let previous: Uint8Array | undefined;
  for (;;) {
    const batch = await store.readBatch(lane, 1, (records.at(-1)?.number ?? 0) + 1, 50, 1e6);
    if (!batch) return records;
    if (previous && !sameHash(batch.prevHash, previous)) throw new Error("a batch does not join");
    previous = chainHashes(batch.prevHash, batch.records).at(-1)!;
    if (!sameHash(previous, batch.lastHash)) throw new Error("a chain is broken");
    records.push(...batch.records);
  }
}

function lossesOf(records: RecordBatch["records"]): LossRecordBody[] {
  return records
    .filter((record) => record.class === RECORD_CLASSES.loss)
    .map((record) => parseLoss(record.body));
}

/** Rows of a lane that nothing fills yet. */
async function commitBulk(store: AgentStore, count: number): Promise<void> {
  const { run, steps, definition } = startOf("bulk", null);
  const records = Array.from({ length: count }, (_, i) => ({
    ...{ lane: LANES.bulk, class: RECORD_CLASSES.step, body: JSON.stringify({ i }) },
  }));
  await store.startRuns([{ run, steps, definition, records }]);
}

async function cursorAt(store: AgentStore, number: number, lane: number = LANES.events) {
  const batch = (await store.readBatch(lane, 1, number, 1, 1))!;
  return { epoch: store.facts.epoch, lane, segment: 1, number, hash: batch.lastHash };
}

describe("beyond the cap", () => {
  test("the oldest rows become a record that says exactly what they were, and so again", async () => {
    const store = await open();
    await store.commitEvents(commitOf(numbered("e", 150)));
    await store.trim();
    const records = await rowsOf(store, LANES.events);
    const losses = lossesOf(records);
    expect(losses[0]).toMatchObject({ first: 11, reason: "cap" });
    const lost = losses.reduce((sum, loss) => sum + loss.counts[1]!, 0);
    expect(records.length - losses.length + lost).toBe(150);
    expect((await store.stats()).outbox).toMatchObject({
      cap: { rows: 100 },
      lost: { event: { cap: lost } },
    });
    expect((await store.stats()).unacknowledged).toMatchObject({ events: records.length });
    expect(records.length).toBeLessThanOrEqual(100);
    await store.commitEvents(commitOf(numbered("f", 40)));
    await store.trim();
    const later = await rowsOf(store, LANES.events);
    expect(later.length).toBeLessThanOrEqual(100);
    // What was written once stays as it is.
    expect(lossesOf(later).slice(0, losses.length)).toEqual(losses);
    await store.close();
    const again = await open();
    expect(await rowsOf(again, LANES.events)).toEqual(later);
    expect((await again.stats()).outbox.lost.event!.cap!).toBeGreaterThan(lost);
  });

  test("the lowest lane goes first, and results only when nothing else is left", async () => {
    const filled = await open({ rows: 1000 });
    await filled.startRuns(numbered("r", 60).map((id) => startOf(id, null)));
    await filled.commitEvents(commitOf(numbered("e", 60)));
    await commitBulk(filled, 60);
    await filled.close();
    // All at once, where trimming behind each commit would come to other numbers.
    const store = await open();
    await store.trim();
    const gone = async (lane: number) => {
      const losses = lossesOf(await rowsOf(store, lane));
      return losses.reduce((sum, { first, last }) => sum + last - first + 1, 0);
    };
    // 180 rows: all that may go of bulk (50 of 60), and of the events.
    expect([await gone(LANES.bulk), await gone(LANES.events), await gone(LANES.results)]).toEqual([
      50, 50, 0,
    ]);
    await store.startRuns(numbered("s", 90).map((id) => startOf(id, null)));
    await store.trim();
    expect(await gone(LANES.results)).toBeGreaterThan(0);
  });

  test("by size", async () => {
    const store = await open({ rows: 1e9, bytes: 20_000 });
    await store.commitEvents(commitOf(numbered("e", 400)));
    await store.trim();
    const { bytes, lost } = (await store.stats()).outbox;
    expect(bytes).toBeLessThanOrEqual(20_000);
    const records = await rowsOf(store, LANES.events);
    expect(bytes).toBe(records.reduce((sum, { body }) => sum + body.length, 0));
    expect(records.length - lossesOf(records).length + lost.event!.cap!).toBe(400);
  });

  test("a commit alone is enough to begin, and it is told of", async () => {
    const store = await open();
    const told = Promise.withResolvers<unknown>();
    store.onEvicted((evicted) => told.resolve(evicted));
    await store.commitEvents(commitOf(numbered("e", 150)));
    expect(await told.promise).toMatchObject({ lane: LANES.events, counts: { 1: expect.any(Number) } });
  });

  test("rows that may be on their way stay, however many there are", async () => {
    const store = await open({ rows: 5, ahead: 200 });
    await store.commitEvents(commitOf(numbered("e", 150)));
    await store.trim();
    expect(lossesOf(await rowsOf(store, LANES.events))).toEqual([]);
  });

  test("a record never takes the place of one row, or of another record", async () => {
    const store = await open({ rows: 5, ahead: 1, least: 2 });
    await store.commitEvents(commitOf(numbered("e", 50)));
    await store.trim();
    const losses = lossesOf(await rowsOf(store, LANES.events));
    await store.trim();
    expect(lossesOf(await rowsOf(store, LANES.events))).toEqual(losses);
    expect(losses.every(({ first, last }) => last > first)).toBe(true);
  });
});

describe("a loss record in its stream", () => {
  const lose = async (more: object = {}) => {
    const store = await open({}, more);
    await store.commitEvents(commitOf(numbered("e", 150)));
    await store.trim();
    const losses = lossesOf(await rowsOf(store, LANES.events));
    return { store, first: losses[0]!.first, last: losses[0]!.last, losses };
  };

  test("ends its batch, and a batch begins at it", async () => {
    const { store, first, last, losses } = await lose();
    const batch = (await store.readBatch(LANES.events, 1, 1, 1000, 1e6))!;
    expect(batch.records.map((record) => record.number)).toEqual([
      ...Array.from({ length: first - 1 }, (_, i) => i + 1),
      ...losses.map((loss) => loss.last),
    ]);
    expect((await store.readBatch(LANES.events, 1, first, 1, 1e6))!.records[0]!.number).toBe(last);
    expect(await failure(store.readBatch(LANES.events, 1, first + 1, 1, 1e6))).toMatchObject({
      code: "not_found",
    });
  });

  test("is acknowledged as a whole: a hub that stands inside it has another history", async () => {
    const { store, first, last } = await lose();
    const cursor = await cursorAt(store, first);
    const { rows } = (await store.streams())[0]!;
    for (const number of [first, last - 1]) {
      const refused = await failure(store.acknowledge({ ...cursor, number }));
      expect(refused).toMatchObject({ code: "conflict", message: expect.stringContaining("gave up unsent") });
    }
    await store.acknowledge({ ...cursor, number: last });
    expect((await store.streams())[0]).toMatchObject({ acknowledged: last, rows: rows - first });
  });

  test("goes with history when it is acknowledged", async () => {
    const { store, last } = await lose({ sent: sent(5) });
    const { last: end } = (await store.streams())[0]!;
    await store.acknowledge(await cursorAt(store, end));
    await store.trim();
    expect((await store.streams())[0]).toMatchObject({ rows: 0, bytes: 0, acknowledged: end });
    expect(await failure(store.readBatch(LANES.events, 1, last + 1, 1, 1))).toMatchObject({
      code: "not_found",
    });
    await store.commitEvents(commitOf(["next"]));
    expect((await store.readBatch(LANES.events, 1, end + 1, 9, 1e6))!.records).toHaveLength(1);
  });

  test("lets the events go that it stands for, although older rows are kept", async () => {
    const { store, first } = await lose({ events: keep(5) });
    await store.trim();
    const { events } = await store.stats();
    const waiting = (await rowsOf(store, LANES.events)).filter(
      (record) => record.class === RECORD_CLASSES.event,
    );
    expect(events).toBeLessThan(150 - (first - 1));
    // All that are kept can be sent, with the bytes that were committed.
    expect(JSON.parse(Buffer.from(waiting[0]!.body).toString())).toMatchObject({ id: "e-0", source: SOURCE });
  });

  test("goes on into a new epoch with numbers of its own, and is known there by its last hash", async () => {
    const { store, losses } = await lose();
    await store.acknowledge(await cursorAt(store, 4));
    await store.renewEpoch("forked", [{ lane: LANES.events, segment: 1, number: 4 }]);
    const records = await rowsOf(store, LANES.events);
    const carried = lossesOf(records);
    expect(carried.map(({ first, last }) => [first, last])).toEqual(
      losses.map(({ first, last }) => [first - 4, last - 4]),
    );
    expect(carried.map(({ lastHash, counts }) => [lastHash, counts])).toEqual(
      losses.map(({ lastHash, counts }) => [lastHash, counts]),
    );
    expect((await store.streams())[0]).toMatchObject({ rows: records.length, last: 146 });
  });
});
