import { expect, test } from "bun:test";
import { LANES } from "../../model/record.ts";
import { FRESH_IN_A_ROW, SendOrder, type Sendable } from "./send-order.ts";

const { results, events, bulk } = LANES;
const stream = (lane: number, segment: number, closed = false): Sendable => ({ lane, segment, closed });
const fresh = (lane: number) => stream(lane, 9);
const backlog = (lane: number, segment = 1) => stream(lane, segment, true);

test.each<[string, Sendable[], boolean, Sendable | undefined]>([
  ["results before events before bulk", [fresh(bulk), fresh(events), fresh(results)], true, fresh(results)],
  ["fresh rows before backlog, of whatever lane", [backlog(results), fresh(bulk)], true, fresh(bulk)],
  ["backlog: results before events", [backlog(events), backlog(results)], true, backlog(results)],
  ["the oldest segment first", [backlog(events, 3), backlog(events, 2)], true, backlog(events, 2)],
  ["no backlog beyond its pace", [backlog(results), fresh(bulk)], false, fresh(bulk)],
  ["nothing but backlog beyond its pace", [backlog(results)], false, undefined],
  ["nothing", [], true, undefined],
])("%s", (_what, streams, drains, first) => {
  expect(new SendOrder().next(streams, drains)).toEqual(first);
});

test("fresh rows without end leave every eighth batch to the backlog, results of it first", () => {
  const order = new SendOrder();
  const streams = [fresh(results), fresh(bulk), backlog(results), backlog(bulk)];
  const sent = Array.from({ length: 5 * (FRESH_IN_A_ROW + 1) }, () => order.next(streams, true)!);
  const drained = sent.flatMap((each, index) => (each.closed ? [index] : []));
  expect(drained).toEqual([7, 15, 23, 31, 39]);
  expect(sent[7]).toEqual(backlog(results));
});

test("while the backlog waits for its pace, its turn is not used up", () => {
  const order = new SendOrder();
  const streams = [fresh(events), backlog(events)];
  for (let i = 0; i < FRESH_IN_A_ROW; i++) order.next(streams, true);
  expect(order.next(streams, false)).toEqual(fresh(events));
  expect(order.next(streams, true)).toEqual(backlog(events));
  expect(order.next(streams, true)).toEqual(fresh(events));
});
