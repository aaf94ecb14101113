/** Loss records on their way from a real store through the outbox. */
import { afterEach, beforeEach, expect, test } from "bun:test";
import { HoldfastError } from "../../core/errors.ts";
import { silentLogger } from "../../core/logger.ts";
import { systemIds } from "../../core/ids.ts";
import { RECORD_CLASSES, type RecordBatch, type StreamCursor } from "../../model/record.ts";
import type { Common } from "../../protocol/capabilities.ts";
import { lastOf } from "../../protocol/loss.ts";
import { openInProcessStore, type InProcessStore } from "../../testing/in-process-store.ts";
import { until } from "../../testing/until.ts";
import { commitOf, type Fixture, fixture, numbered } from "../store/store-fixtures.ts";
import { createOutbox } from "./outbox.ts";

const AHEAD = 10;
const LOSS: Common = new Set(["loss"]);

let place: Fixture;
let store: InProcessStore;
beforeEach(async () => {
  place = fixture();
  store = await openInProcessStore({
    path: place.path,
    ids: systemIds(),
    wall: () => 1,
    retention: { outbox: { rows: 20, bytes: 1e9, ahead: AHEAD, least: 5 } },
  });
});
afterEach(async () => {
  await store.close();
  await place.end();
});

function rig() {
  const outbox = createOutbox({ store, log: silentLogger(), batchRows: 4, sentAhead: AHEAD });
  const sent: RecordBatch[] = [];
  const abort = new AbortController();
  const pump = () => outbox.pump(async (batch) => void sent.push(batch), abort.signal);
  return { outbox, sent, abort, pump };
}

const endOf = (batch: RecordBatch): StreamCursor => ({
  ...{ epoch: batch.epoch, lane: batch.lane, segment: batch.segment },
  ...{ number: lastOf(batch), hash: batch.lastHash },
});

test("rows, then the loss, then rows again; each waits for the store to know what the hub has", async () => {
  await store.commitEvents(commitOf(numbered("e", 50)));
  await store.trim();
  const { outbox, sent, abort, pump } = rig();
  await outbox.begin([], LOSS);
  expect(outbox.lagRows()).toBe((await store.streams())[0]!.rows);
  const running = pump();
  let acked = 0;
  const numbers: number[] = [];
  while (numbers.at(-1) !== 50) {
    await until("a batch", () => sent.length > acked);
    const batch = sent[acked++]!;
    const { acknowledged } = (await store.streams())[0]!;
    for (const { number, class: recordClass } of batch.records) {
      if (recordClass !== RECORD_CLASSES.loss) expect(number).toBeLessThanOrEqual(acknowledged + AHEAD);
      numbers.push(number);
    }
    outbox.acked(endOf(batch));
  }
  // Ten rows in front, one record for thirty-one or so, and the newest.
  expect(numbers.slice(0, AHEAD)).toEqual(Array.from({ length: AHEAD }, (_, i) => i + 1));
  expect(numbers.length).toBeLessThanOrEqual(20);
  await until("nothing is missing", () => outbox.lagRows() === 0);
  abort.abort();
  await running;
});

test("a hub that takes no loss records gets the rows in front, and is told why no more comes", async () => {
  await store.commitEvents(commitOf(numbered("e", 50)));
  await store.trim();
  const { outbox, sent, abort, pump } = rig();
  await outbox.begin([], new Set());
  const running = pump();
  for (let acked = 0; outbox.problem() === null; acked++) {
    await until("a batch, or the end", () => sent.length > acked || outbox.problem() !== null);
    if (sent[acked]) outbox.acked(endOf(sent[acked]!));
  }
  expect(sent.map(lastOf).at(-1)).toBe(AHEAD);
  expect(outbox.problem()).toContain("takes no loss records: update the hub");
  abort.abort();
  await running;
});

test("an ack that the store cannot keep (full disk) is kept with the next row, and what waited for it goes on", async () => {
  await store.commitEvents(commitOf(numbered("e", 20)));
  const { outbox, sent, abort, pump } = rig();
  await outbox.begin([], LOSS);
  const running = pump();
  await until("as much as may be ahead", () => sent.length === 2);
  const acknowledge = store.acknowledge.bind(store);
  let refused = 0;
  store.acknowledge = async () => {
    refused++;
    throw new HoldfastError("exhausted", "disk full");
  };
  outbox.acked(endOf(sent[1]!));
  await until("it is refused", () => refused === 1);
  expect(sent).toHaveLength(2);
  store.acknowledge = acknowledge;
  await store.commitEvents(commitOf(["more"]));
  await until("it goes on", () => sent.length > 2);
  abort.abort();
  await running;
});
