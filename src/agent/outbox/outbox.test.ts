import { describe, expect, test } from "bun:test";
import { HoldfastError } from "../../core/errors.ts";
import { silentLogger } from "../../core/logger.ts";
import type { RecordBatch, StreamCursor } from "../../model/record.ts";
import { MemoryOutboxStore } from "../../testing/memory-outbox-store.ts";
import { until } from "../../testing/until.ts";
import { createOutbox } from "./outbox.ts";
import type { OutboxOptions } from "./outbox-options.ts";

const RESULTS = 1;
const EVENTS = 2;
const names = (count: number, prefix = "row") =>
  Array.from({ length: count }, (_, n) => `${prefix} ${n + 1}`);
const endOf = (batch: RecordBatch): StreamCursor => ({
  epoch: batch.epoch,
  lane: batch.lane,
  segment: batch.segment,
  number: batch.first + batch.records.length - 1,
  hash: batch.lastHash,
});

function rig(store = new MemoryOutboxStore(), options: Partial<OutboxOptions> = {}) {
  const outbox = createOutbox({ store, log: silentLogger(), batchRows: 10, ...options });
  const sent: RecordBatch[] = [];
  const abort = new AbortController();
  const pump = () => {
    const running = outbox.pump(async (batch) => void sent.push(batch), abort.signal);
    running.catch(() => {});
    return running;
  };
  return { store, outbox, sent, abort, pump };
}

describe("pumping", () => {
  test("results go before events, in batches, and no more than the window is under way", async () => {
    const { store, outbox, sent, abort, pump } = rig(undefined, { windowBatches: 2 });
    store.append(EVENTS, ...names(25));
    store.append(RESULTS, ...names(35));
    await outbox.begin([]);
    const running = pump();
    await until("both windows are full", () => sent.length === 4);
    expect(sent.map(({ lane, first, records }) => [lane, first, records.length])).toEqual([
      [RESULTS, 1, 10],
      [RESULTS, 11, 10],
      [EVENTS, 1, 10],
      [EVENTS, 11, 10],
    ]);
    outbox.acked(endOf(sent[0]!));
    await until("room for one more", () => sent.length === 5);
    expect([sent[4]!.lane, sent[4]!.first]).toEqual([RESULTS, 21]);
    abort.abort();
    await running;
  });

  test("the window counts bytes too", async () => {
    const { store, outbox, sent, abort, pump } = rig(undefined, { batchBytes: 1000, windowBytes: 2000 });
    store.append(EVENTS, ...names(20).map(() => "x".repeat(900)));
    await outbox.begin([]);
    const running = pump();
    await until("the window is full", () => sent.length === 3);
    await Bun.sleep(20);
    expect(sent.length).toBe(3);
    abort.abort();
    await running;
  });

  test("new rows wake it, and acks reach the store", async () => {
    const { store, outbox, sent, abort, pump } = rig();
    await outbox.begin([]);
    const running = pump();
    for (let n = 1; n <= 5; n++) {
      store.append(EVENTS, `row ${n}`);
      await until(`row ${n}`, () => sent.length === n);
    }
    expect(outbox.lagRows()).toBe(5);
    outbox.acked(endOf(sent[4]!));
    await outbox.settled(AbortSignal.timeout(1000));
    expect(outbox.lagRows()).toBe(0);
    expect((await store.streams())[0]!.acknowledged).toBe(5);
    abort.abort();
    await running;
  });

  test("rows that somebody asks after as they are committed are sent too", async () => {
    const { store, outbox, sent, abort, pump } = rig();
    await outbox.begin([]);
    const running = pump();
    for (let count = 1; count <= 20; count++) {
      store.append(EVENTS, "row");
      outbox.lagRows();
      await until(`row ${count} is sent`, () => sent.at(-1)?.first === count);
      outbox.acked(endOf(sent.at(-1)!));
    }
    abort.abort();
    await running;
  });

  test("rows that are committed while a batch is read are ours when the hub acknowledges them", async () => {
    const store = new MemoryOutboxStore();
    const { outbox, sent, abort, pump } = rig(store);
    let kept = 0;
    store.acknowledge = async (cursor) => {
      await MemoryOutboxStore.prototype.acknowledge.call(store, cursor);
      kept = cursor.number;
    };
    store.append(EVENTS, ...names(3));
    await outbox.begin([]);
    // As on the storage thread: a commit gets in between asking how far the stream is and reading it.
    const asked = await store.streams();
    store.append(EVENTS, "late");
    store.streams = async () => asked;
    const running = pump();
    await until("the batch is sent", () => sent.length === 1);
    expect(sent[0]!.records).toHaveLength(4);
    store.streams = MemoryOutboxStore.prototype.streams;
    outbox.acked(endOf(sent[0]!));
    await until("the ack is in the store", () => kept === 4);
    abort.abort();
    await running;
  });

  test("a gap sends again from the hub's cursor, once for all batches that were under way", async () => {
    const { store, outbox, sent, abort, pump } = rig();
    store.append(EVENTS, ...names(40));
    await outbox.begin([]);
    const running = pump();
    await until("all sent", () => sent.length === 4);
    const cursor = endOf(sent[0]!);
    for (let n = 0; n < 3; n++) outbox.gap(cursor);
    await until("sent again", () => sent.length === 7);
    await Bun.sleep(20);
    expect(sent.slice(4).map(({ first }) => first)).toEqual([11, 21, 31]);
    abort.abort();
    await running;
  });

  test("a hub that asks for the same rows without end is given up", async () => {
    const { store, outbox, sent, pump } = rig();
    store.append(EVENTS, ...names(20));
    await outbox.begin([]);
    const running = pump();
    for (let n = 0; n < 21; n++) {
      await until("sent", () => sent.length >= 2 * (n + 1));
      outbox.gap({
        epoch: "epoch-1",
        lane: EVENTS,
        segment: 1,
        number: n % 2 === 0 ? 5 : 0,
        hash: new Uint8Array(32),
      });
    }
    await expect(running).rejects.toThrow("for rows again");
  });

  test("a row that no frame can hold blocks its stream, is named, and the others go on", async () => {
    const { store, outbox, sent, abort } = rig();
    store.append(RESULTS, "huge");
    store.append(EVENTS, "small");
    await outbox.begin([]);
    const running = outbox.pump(async (batch) => {
      if (batch.lane === RESULTS) throw new HoldfastError("too_large", "a frame of 5 MB");
      sent.push(batch);
    }, abort.signal);
    await until("the event", () => sent.length === 1);
    expect(outbox.problem()).toContain("row 1 of lane 1 cannot be sent: a frame of 5 MB");
    abort.abort();
    await running;
  });
});

describe("where to begin", () => {
  const sentBy = async (store: MemoryOutboxStore, count: number) => {
    const { outbox, sent, abort, pump } = rig(store);
    await outbox.begin([]);
    const running = pump();
    await until("sent", () => sent.length === count / 10);
    abort.abort();
    await running;
    return sent.map(endOf);
  };

  test("after the hub's cursor when it is ahead of our mark: the ack was lost", async () => {
    const store = new MemoryOutboxStore();
    store.append(EVENTS, ...names(40));
    const cursors = await sentBy(store, 40);
    const { outbox, sent, abort, pump } = rig(store);
    await outbox.begin([cursors[2]!]);
    expect((await store.streams())[0]!.acknowledged).toBe(30);
    const running = pump();
    await until("the rest", () => sent.length === 1);
    expect(sent[0]!.first).toBe(31);
    abort.abort();
    await running;
  });

  test("after the hub's cursor when it is behind and the rows are still here", async () => {
    const store = new MemoryOutboxStore();
    store.append(EVENTS, ...names(40));
    const cursors = await sentBy(store, 40);
    await store.acknowledge(cursors[3]!);
    const { outbox, sent, abort, pump } = rig(store);
    await outbox.begin([cursors[0]!]);
    const running = pump();
    await until("sent again", () => sent.length === 3);
    expect(sent[0]!.first).toBe(11);
    abort.abort();
    await running;
  });

  test.each([
    ["the hub is behind and the rows are gone", 10, 20, "has lost rows of lane 2 from number 11 on"],
    ["the hub knows nothing and the rows are gone", 0, 20, "has lost rows of lane 2 from number 1 on"],
  ])("%s: another history", async (_what, hubAt, trimmed, text) => {
    const store = new MemoryOutboxStore();
    store.append(EVENTS, ...names(40));
    const cursors = await sentBy(store, 40);
    await store.acknowledge(cursors[3]!);
    store.trim(EVENTS, trimmed);
    const { outbox } = rig(store);
    const begun = outbox.begin(hubAt === 0 ? [] : [cursors[hubAt / 10 - 1]!]);
    const error = await begun.catch((thrown) => thrown);
    expect(error).toMatchObject({ code: "conflict", details: { fork: true } });
    expect(error.message).toContain(text);
    await outbox.renew(error.message);
    expect(store.renewals).toEqual([
      { reason: error.message, held: [{ lane: EVENTS, segment: 1, number: hubAt }] },
    ]);
    expect(outbox.epoch).toBe("epoch-2");
    await outbox.begin([]);
    expect(outbox.lagRows()).toBe(40 - Math.max(hubAt, trimmed));
  });

  test("the hub has more than was ever written here: an older copy; only what was agreed on counts as held", async () => {
    const store = new MemoryOutboxStore();
    store.append(EVENTS, ...names(20));
    const old = store.copy();
    store.append(EVENTS, ...names(20, "later"));
    const cursors = await sentBy(store, 40);
    const { outbox } = rig(old);
    const error = await outbox.begin([cursors[3]!]).catch((thrown) => thrown);
    expect(error.message).toContain("this store has written only 20: this store is an older copy");
    await outbox.renew(error.message);
    expect(old.renewals[0]!.held).toEqual([{ lane: EVENTS, segment: 1, number: 0 }]);
  });

  test.each([
    ["at the end", 20, 20],
    ["in the middle", 10, 20],
    ["below our mark", 10, 20],
  ])("the hub holds another row %s: a fork", async (what, hubAt, rows) => {
    const store = new MemoryOutboxStore();
    store.append(EVENTS, ...names(rows));
    const [first, second] = await sentBy(store, rows);
    if (what === "below our mark") await store.acknowledge(second!);
    const { outbox } = rig(store);
    const cursor = { ...(hubAt === 10 ? first! : second!), hash: new Uint8Array(32).fill(7) };
    await expect(outbox.begin([cursor])).rejects.toThrow("a fork");
  });

  test("cursors of another epoch say nothing", async () => {
    const store = new MemoryOutboxStore();
    store.append(EVENTS, ...names(10));
    const { outbox } = rig(store);
    await outbox.begin([{ epoch: "other", lane: EVENTS, segment: 1, number: 99, hash: new Uint8Array(32) }]);
    expect(outbox.lagRows()).toBe(10);
  });
});

test("an ack with another hash than was sent ends the session as a fork", async () => {
  const { store, outbox, sent, pump } = rig();
  store.append(EVENTS, ...names(10));
  await outbox.begin([]);
  const running = pump();
  await until("sent", () => sent.length === 1);
  outbox.acked({ ...endOf(sent[0]!), hash: new Uint8Array(32) });
  await expect(running).rejects.toMatchObject({ code: "conflict", details: { fork: true } });
});

test("an ack that cannot be kept (full disk) is let go; the next one covers it", async () => {
  const { store, outbox, sent, abort, pump } = rig();
  store.append(EVENTS, ...names(20));
  await outbox.begin([]);
  const running = pump();
  await until("sent", () => sent.length === 2);
  const acknowledge = store.acknowledge.bind(store);
  store.acknowledge = async () => {
    throw new HoldfastError("exhausted", "disk full");
  };
  outbox.acked(endOf(sent[0]!));
  await Bun.sleep(5);
  store.acknowledge = acknowledge;
  outbox.acked(endOf(sent[1]!));
  await outbox.settled(AbortSignal.timeout(1000));
  expect((await store.streams())[0]!.acknowledged).toBe(20);
  abort.abort();
  await running;
});
