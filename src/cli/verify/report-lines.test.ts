import { expect, test } from "bun:test";
import type { StreamReport } from "../../protocol/chain-report.ts";
import { closingLines, projectionLine, streamLines } from "./report-lines.ts";

const PLAIN = { color: false };
const REPORT: StreamReport = {
  ...{
    agent: "web-01",
    epoch: "0199a7c4aa00112233445566",
    lane: 2,
    segment: 3,
    first: 11,
    last: 40,
    rows: 21,
  },
  ...{
    classes: { "1": 20, "9": 1 },
    lost: 10,
    beside: 0,
    acknowledged: null,
    proved: null,
    unfinished: false,
  },
  ...{ problems: [], losses: [] },
};
const ATMS = Date.UTC(2026, 10, 21);

test("a stream is told with its losses, each with its classes, its reason and its signature", () => {
  const loss = { first: 21, last: 30, counts: { "1": 9, "200": 1 }, atMs: ATMS };
  const losses = [
    { ...loss, reason: "cap", signature: "good" as const },
    { ...loss, reason: "damaged", signature: "wrong" as const },
  ];
  const [head, first, second] = streamLines({ ...REPORT, losses }, PLAIN);
  expect(head).toBe("web-01  112233445566  events/3  11 to 40: 20 event, 1 loss  ok");
  expect(first).toMatch(
    /^ {2}lost 21 to 30: 9 event, 1 of class 200; the outbox was full \(cap\), 2026-11-2.*; signed$/,
  );
  expect(second).toMatch(/could not be read any more \(damaged\), .*; NOT SIGNED by its agent$/);
});

test("problems, forks, what is still to come and what is proved stand below", () => {
  const problems = [{ kind: "missing" as const, number: 12, message: "row 12 is missing\u001b[2J" }];
  const lines = streamLines({ ...REPORT, problems, beside: 7, acknowledged: 40 }, PLAIN);
  expect(lines.slice(1)).toEqual([
    "  missing from 12: row 12 is missing",
    "  forked: 7 other rows are held beside it",
    "  the hub has said to hold it up to 40; there is no receipt that proves it",
  ]);
  const proved = { hub: "hub-1", number: 30, atMs: ATMS };
  expect(streamLines({ ...REPORT, acknowledged: 40, proved }, PLAIN)[1]).toMatch(
    /^ {2}hub hub-1 has signed to hold it up to 30, .*; it has said 40$/,
  );
  expect(streamLines({ ...REPORT, unfinished: true }, PLAIN)[1]).toContain("still to come");
  expect(streamLines({ ...REPORT, rows: 0, last: 0, classes: {} }, PLAIN)[0]).toContain("  empty  ok");
});

test("the last line sums up", () => {
  const totals = { streams: 1, rows: 21, classes: {}, lost: 10, beside: 2 };
  const report = {
    ok: false,
    side: "hub" as const,
    agent: null,
    hub: "h",
    epoch: "e",
    totals,
    problems: ["it is cut"],
  };
  expect(closingLines(report, "the hub", PLAIN)).toEqual([
    "wrong: it is cut",
    "the hub: 1 stream, 21 rows, 10 rows told as lost, 2 rows held beside: NOT WHOLE",
  ]);
  const counts = { agent: "web-01", records: 9, events: 7, again: 1, unreadable: 1, absent: 0, unfounded: 0 };
  expect(projectionLine(counts)).toBe(
    "web-01  9 records of events, 7 in lists, 1 came again, 1 cannot be shown",
  );
});
