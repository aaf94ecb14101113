import { Database } from "bun:sqlite";
import { afterEach, beforeEach, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { LANES, type LossRecordBody, RECORD_CLASSES } from "../../model/record.ts";
import { parseLoss } from "../../protocol/loss.ts";
import type { AgentStore } from "./port.ts";
import { commitOf, type Fixture, fixture, numbered, readLane, startOf } from "./store-fixtures.ts";

let place: Fixture;
beforeEach(() => {
  place = fixture();
});
afterEach(() => place.end());

/** Rows of a lane, over a chain that is whole, and what its loss records say. */
async function tally(store: AgentStore, lane: number): Promise<{ rows: number; losses: LossRecordBody[] }> {
  const bodies = await readLane(store, lane);
  const losses = bodies.filter((body) => body.includes('"lastHash"')).map((body) => parseLoss(body));
  return { rows: bodies.length - losses.length, losses };
}

/** Closes the store, has its file damaged, and opens what is made of it. */
async function damaged(store: AgentStore, sql: string[]) {
  await store.close();
  const database = new Database(place.path);
  for (const statement of sql) database.run(statement);
  database.close();
  writeFileSync(`${place.path}-damaged`, "found in a test\n");
  return await place.open({ retention: { outbox: CAP } });
}

const CAP = { rows: 1000, bytes: Number.MAX_SAFE_INTEGER, ahead: 10, least: 100 };

test("rows that cannot be read are told as lost in their place, and what can be told of them is", async () => {
  const store = await place.open();
  await store.commitEvents(commitOf(numbered("e", 300)));
  await store.startRuns(numbered("r", 20).map((id) => startOf(id, null)));
  const batch = (await store.readBatch(LANES.events, 1, 1, 50, 1e6))!;
  const cursor = { epoch: store.facts.epoch, lane: LANES.events, segment: 1, number: 50 };
  await store.acknowledge({ ...cursor, hash: batch.lastHash });
  const again = await damaged(store, [
    `DELETE FROM outbox WHERE lane = ${LANES.events} AND number BETWEEN 100 AND 119`,
    `UPDATE events SET body = '{"changed":1}' WHERE n = 200`,
    `DELETE FROM outbox WHERE lane = ${LANES.events} AND number > 290`,
    `UPDATE outbox SET body = '{}' WHERE lane = ${LANES.results} AND number = 7`,
    `DELETE FROM outbox WHERE lane = ${LANES.results} AND number IN (8, 9)`,
  ]);
  const events = await tally(again, LANES.events);
  expect(events.losses.map(({ counts, reason }) => ({ counts, reason }))).toEqual([
    { counts: { 1: 20 }, reason: "damaged" },
    { counts: { 1: 1 }, reason: "damaged" },
    { counts: { 1: 10 }, reason: "damaged" },
  ]);
  expect(events.rows + 31).toBe(250);
  expect(events.losses[0]).toMatchObject({ first: 50, last: 69 });
  const results = await tally(again, LANES.results);
  // Of two of them only the lane is known.
  expect(results.losses.map(({ counts }) => counts)).toEqual([{ 0: 2, 2: 1 }]);
  expect(results.rows).toBe(17);
  expect((await again.stats()).outbox.lost).toEqual({
    event: { damaged: 31 },
    run: { damaged: 1 },
    unknown: { damaged: 2 },
  });
  expect(again.facts.salvage!.salvaged).toMatchObject({ outboxLost: 34, outbox: 219 + 17 });
  // It goes on behind them.
  await again.commitEvents(commitOf(["next"]));
  expect((await tally(again, LANES.events)).rows).toBe(220);
});

test("an earlier loss goes on as what it was; one that is damaged itself is told as damaged", async () => {
  const store = await place.open({ retention: { outbox: CAP } });
  await store.commitEvents(commitOf(numbered("e", 1500)));
  await store.trim();
  const before = (await tally(store, LANES.events)).losses;
  const given = before.reduce((sum, { counts }) => sum + counts[1]!, 0);
  expect(before.length).toBeGreaterThan(1);
  const last = before.at(-1)!;
  const again = await damaged(store, [
    `UPDATE outbox SET body = 'no loss' WHERE class = ${RECORD_CLASSES.loss} AND number = ${last.last}`,
  ]);
  const { rows, losses } = await tally(again, LANES.events);
  const kept = losses.filter(({ reason }) => reason === "cap");
  expect(kept.map(({ lastHash }) => lastHash)).toEqual(before.slice(0, -1).map(({ lastHash }) => lastHash));
  const lost = losses.reduce((sum, { counts }) => sum + counts[1]!, 0);
  expect([rows + lost, lost]).toEqual([1500, given]);
});
