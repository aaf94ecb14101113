import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { LANES, ZERO_HASH } from "../../model/record.ts";
import { noteDamage } from "./damage.ts";
import { MAX_SEGMENTS } from "./outbox-segments.ts";
import type { AgentStore, StreamState } from "./port.ts";
import {
  commitOf,
  failure,
  type Fixture,
  fixture,
  idsOf,
  numbered,
  readLane,
  sent,
} from "./store-fixtures.ts";

let place: Fixture;
beforeEach(() => {
  place = fixture();
});
afterEach(() => place.end());

const DAY_MS = 86_400_000;
const lane = LANES.events;

async function segments(store: AgentStore): Promise<StreamState[]> {
  return (await store.streams()).filter((stream) => stream.lane === lane);
}

async function idsIn(store: AgentStore, segment: number, first = 1): Promise<string[]> {
  const batch = await store.readBatch(lane, segment, first, 1000, 1e6);
  return batch === null
    ? []
    : batch.records.map(({ body }) => (JSON.parse(new TextDecoder().decode(body)) as { id: string }).id);
}

async function acknowledge(store: AgentStore, segment: number, number: number): Promise<void> {
  const batch = await store.readBatch(lane, segment, number, 1, 1);
  await store.acknowledge({ epoch: store.facts.epoch, lane, segment, number, hash: batch!.lastHash });
}

describe("closing a segment", () => {
  test("later rows go into the next one, which begins with its last hash, also after a restart", async () => {
    const first = await place.open();
    await first.commitEvents(commitOf(numbered("a", 5)));
    expect(await first.closeSegments([lane, LANES.bulk])).toEqual([lane]);
    await first.commitEvents(commitOf(numbered("b", 3)));
    await first.close();
    const store = await place.open();
    await store.commitEvents(commitOf(["c"]));
    const [old, open] = await segments(store);
    expect(old).toMatchObject({ segment: 1, closed: true, last: 5, rows: 5, firstLink: ZERO_HASH });
    expect(open).toMatchObject({ segment: 2, closed: false, last: 4, rows: 4, firstLink: old!.lastHash });
    expect(await idsIn(store, 1)).toEqual(numbered("a", 5));
    expect(await idsIn(store, 2)).toEqual([...numbered("b", 3), "c"]);
    const batch = await store.readBatch(lane, 2, 1, 9, 1e6);
    expect(Buffer.from(batch!.prevHash)).toEqual(Buffer.from(old!.lastHash));
  });

  test("does nothing without rows that wait, and stops at a number of segments", async () => {
    const store = await place.open();
    expect(await store.closeSegments([lane])).toEqual([]);
    for (let i = 1; i < MAX_SEGMENTS; i++) {
      await store.commitEvents(commitOf([`e-${i}`]));
      expect(await store.closeSegments([lane])).toEqual([lane]);
      expect(await store.closeSegments([lane])).toEqual([]);
    }
    await store.commitEvents(commitOf(["last"]));
    expect(await store.closeSegments([lane])).toEqual([]);
    await acknowledge(store, 1, 1);
    expect(await store.closeSegments([lane])).toEqual([lane]);
    expect((await segments(store)).at(-1)!.segment).toBe(MAX_SEGMENTS + 1);
  });

  test("a new epoch has all of them in order, in one segment", async () => {
    const store = await place.open();
    await store.commitEvents(commitOf(numbered("a", 4)));
    await store.closeSegments([lane]);
    await store.commitEvents(commitOf(numbered("b", 3)));
    await store.closeSegments([lane]);
    await store.commitEvents(commitOf(["c"]));
    await store.renewEpoch("test", [
      { lane, segment: 1, number: 2 },
      { lane, segment: 2, number: 0 },
    ]);
    const ids = [...numbered("a", 4).slice(2), ...numbered("b", 3), "c"];
    expect(idsOf(await readLane(store, lane))).toEqual(ids);
    expect(await segments(store)).toMatchObject([
      { segment: 1, closed: false, last: 6, firstLink: ZERO_HASH },
    ]);
  });
});

test("from a damaged store all rows behind the first one that waits are carried, in order, also acknowledged ones", async () => {
  const first = await place.open();
  for (const name of ["a", "b", "c", "d"]) {
    await first.commitEvents(commitOf(numbered(name, 3)));
    if (name !== "d") await first.closeSegments([lane]);
  }
  await acknowledge(first, 1, 3);
  await acknowledge(first, 2, 1);
  await acknowledge(first, 3, 3);
  await first.close();
  noteDamage(place.path, "for a test");
  const store = await place.open();
  expect(store.facts.salvage).toMatchObject({ salvaged: { outbox: 8 } });
  const ids = [...numbered("b", 3).slice(1), ...numbered("c", 3), ...numbered("d", 3)];
  expect(idsOf(await readLane(store, lane))).toEqual(ids);
});

describe("what is kept after the ack", () => {
  test("goes by size, the oldest first", async () => {
    const bytes = 2000;
    const store = await place.open({ retention: { sent: { ...sent(1000), bytes } } });
    await store.commitEvents(commitOf(numbered("e", 100)));
    await acknowledge(store, 1, 100);
    await store.trim();
    const size = (await store.readBatch(lane, 1, 100, 1, 1))!.records[0]!.body.length;
    const kept = Math.floor(bytes / size);
    // The ids of the first ten are shorter by one.
    expect(await idsIn(store, 1, 101 - kept)).toHaveLength(kept);
    expect(await failure(store.readBatch(lane, 1, 100 - kept, 1, 1))).toMatchObject({ code: "not_found" });
  });

  test("goes by age since the ack, by trusted time", async () => {
    let trusted = 10 * DAY_MS;
    const time = { trusted: () => trusted, mono: () => 0 };
    const retention = { sent: { ...sent(1000), ageMs: DAY_MS } };
    const store = await place.open({ time, retention });
    await store.commitEvents(commitOf(numbered("e", 10)));
    await acknowledge(store, 1, 4);
    await store.trim();
    trusted += DAY_MS / 2;
    await acknowledge(store, 1, 10);
    await store.trim();
    expect(await idsIn(store, 1)).toHaveLength(10);
    trusted += DAY_MS / 2 + 1;
    await store.trim();
    expect(await failure(store.readBatch(lane, 1, 4, 1, 1))).toMatchObject({ code: "not_found" });
    expect(await idsIn(store, 1, 5)).toHaveLength(6);
  });

  test("stays while an older segment waits, then goes with its segment, whose end is known for a while", async () => {
    const store = await place.open({ retention: { sent: sent(0) } });
    for (const name of ["a", "b", "c"]) {
      await store.commitEvents(commitOf(numbered(name, 3)));
      if (name !== "c") await store.closeSegments([lane]);
    }
    await acknowledge(store, 2, 3);
    await acknowledge(store, 3, 3);
    await store.trim();
    expect(await idsIn(store, 2)).toEqual(numbered("b", 3));
    await acknowledge(store, 1, 3);
    await store.trim();
    expect((await segments(store)).map(({ segment, last }) => [segment, last])).toEqual([
      [2, 3],
      [3, 3],
    ]);
    await store.close();
    expect(await segments(await place.open())).toHaveLength(2);
  });
});
