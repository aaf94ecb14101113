import { expect, test } from "bun:test";
import { MemoryOutboxStore } from "../../testing/memory-outbox-store.ts";
import { letGo } from "./let-go.ts";

test("without a hub every row counts as held, also those that come later", async () => {
  const store = new MemoryOutboxStore();
  store.append(1, "run");
  store.append(2, "event 1", "event 2");
  await letGo(store, store.facts.epoch);
  store.append(2, "event 3");
  const held = async () =>
    (await store.streams()).map(({ lane, last, acknowledged }) => [lane, last, acknowledged]);
  expect(await held()).toEqual([
    [1, 1, 1],
    [2, 3, 2],
  ]);
  await letGo(store, store.facts.epoch);
  expect(await held()).toEqual([
    [1, 1, 1],
    [2, 3, 3],
  ]);
});
