import { expect, test } from "bun:test";
import { PastClock } from "./past-clock.ts";
import type { PastEvent } from "./ports.ts";

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;

/** A jump that the agent noticed as its event `n`, at minute `at` of the wall clock after it. */
const clockWith = (...jumps: [n: number, at: number, byMinutes: number][]) => {
  const events = jumps.map(([n, at, by]): PastEvent => {
    const stored = JSON.stringify({ data: { byMs: by * MINUTE_MS } });
    const recordedMs = at * MINUTE_MS;
    return { n, source: "clock", id: `j${n}`, type: "clock.jumped", timeMs: recordedMs, recordedMs, stored };
  });
  return new PastClock({ eventsOf: () => events, body: ({ stored }) => stored }, ["clock"]);
};

const cases: [what: string, clock: PastClock, from: number, to: number, n: number, minutes: number][] = [
  ["time goes by", clockWith(), 0, 10, 5, 10],
  ["a clock that went back and nobody noticed", clockWith(), 100, 40, 5, 0],
  ["forward, the event of the jump itself", clockWith([5, 503, 500]), 1, 503, 5, 2],
  ["forward, an event before that of the jump", clockWith([7, 503, 500]), 1, 502, 5, 1],
  ["a day off without a jump beside it", clockWith([7, 5000, 500]), 1, 1441, 5, 1440],
  ["the events between the jump and its notice", clockWith([7, 503, 500]), 502, 503, 6, 1],
  ["back, an event before that of the jump", clockWith([7, -497, -500]), 1, -498, 5, 1],
  ["back, the one after it", clockWith([7, -497, -500]), -498, -497, 7, 1],
  ["after the jump", clockWith([5, 503, 500]), 503, 1103, 6, 600],
  ["forward and back", clockWith([5, 503, 500], [9, 10, -500]), 508, 9, 8, 1],
];

test.each(cases)("%s", (_what, clock, from, to, n, minutes) => {
  expect(clock.elapsed(from * MINUTE_MS, to * MINUTE_MS, n)).toBe(minutes * MINUTE_MS);
});

test("an event of a jump that tells nothing is left out", () => {
  const broken = {
    n: 1,
    source: "clock",
    id: "j",
    type: "clock.jumped",
    timeMs: 0,
    recordedMs: 0,
    stored: "{}",
  };
  const clock = new PastClock({ eventsOf: () => [broken], body: ({ stored }) => stored }, ["clock"]);
  expect(clock.elapsed(0, HOUR_MS, 1)).toBe(HOUR_MS);
  expect(clock.jumpedSince(0)).toBe(false);
});
