import { describe, expect, test } from "bun:test";
import { nextCron, parseCron } from "./cron.ts";
import { Zone, zoneProblem } from "./cron-zone.ts";

/** The next times as they are in UTC, with what the clocks did. */
function times(text: string, zoneName: string, from: string, count: number): string[] {
  const cron = parseCron(text);
  const zone = new Zone(zoneName);
  const all: string[] = [];
  for (let after = Date.parse(from); all.length < count;) {
    const next = nextCron(cron, zone, after)!;
    after = next.atMs;
    const time = new Date(next.atMs).toISOString().replace(":00.000Z", "Z").replace(".000Z", "Z");
    all.push(next.shift === null ? time : `${time} ${next.shift}`);
  }
  return all;
}

describe("a time that clocks are put forward over comes once, at once", () => {
  test.each([
    ["30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", ["2026-03-29T01:00Z gap", "2026-03-30T00:30Z"]],
    ["*/20 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", ["2026-03-29T01:00Z gap", "2026-03-30T00:00Z"]],
    [
      "30 2 * * *",
      "America/New_York",
      "2026-03-07T12:00:00Z",
      ["2026-03-08T07:00Z gap", "2026-03-09T06:30Z"],
    ],
    // Half an hour only.
    [
      "15 2 * * *",
      "Australia/Lord_Howe",
      "2026-10-03T00:00:00Z",
      ["2026-10-03T15:30Z gap", "2026-10-04T15:15Z"],
    ],
    // At midnight: the day begins at one.
    [
      "0 0 * * *",
      "America/Sao_Paulo",
      "2018-11-03T12:00:00Z",
      ["2018-11-04T03:00Z gap", "2018-11-05T02:00Z"],
    ],
    ["0 0 * * *", "Africa/Cairo", "2026-04-23T12:00:00Z", ["2026-04-23T22:00Z gap", "2026-04-24T21:00Z"]],
    // A whole day was left out.
    ["0 12 * * *", "Pacific/Apia", "2011-12-29T23:00:00Z", ["2011-12-30T10:00Z gap", "2011-12-30T22:00Z"]],
  ])("%s in %s", (text, zone, from, wanted) => expect(times(text, zone, from, 2)).toEqual(wanted));
});

describe("a time that clocks show twice comes the first time only", () => {
  test.each([
    ["30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", ["2026-10-25T00:30Z twice", "2026-10-26T01:30Z"]],
    [
      "30 1 * * *",
      "America/New_York",
      "2026-10-31T12:00:00Z",
      ["2026-11-01T05:30Z twice", "2026-11-02T06:30Z"],
    ],
    [
      "45 1 * * *",
      "Australia/Lord_Howe",
      "2026-04-04T00:00:00Z",
      ["2026-04-04T14:45Z twice", "2026-04-05T15:15Z"],
    ],
    [
      "30 23 * * *",
      "America/Sao_Paulo",
      "2018-02-17T12:00:00Z",
      ["2018-02-18T01:30Z twice", "2018-02-19T02:30Z"],
    ],
    ["30 23 * * *", "Africa/Cairo", "2026-10-29T12:00:00Z", ["2026-10-29T20:30Z twice", "2026-10-30T21:30Z"]],
  ])("%s in %s", (text, zone, from, wanted) => expect(times(text, zone, from, 2)).toEqual(wanted));

  test("asked for in the second round, the next one is after it", () => {
    expect(times("* * 1 * * *", "America/New_York", "2026-11-01T06:30:10Z", 1)).toEqual([
      "2026-11-02T06:00Z",
    ]);
    expect(times("*/20 2 * * *", "Europe/Berlin", "2026-10-25T00:10:00Z", 3)).toEqual([
      "2026-10-25T00:20Z twice",
      "2026-10-25T00:40Z twice",
      "2026-10-26T01:00Z",
    ]);
  });

  test("hours that are named are not every hour", () =>
    expect(times("0 */2 * * *", "Europe/Berlin", "2026-10-24T21:30:00Z", 3)).toEqual([
      "2026-10-24T22:00Z",
      "2026-10-25T00:00Z twice",
      "2026-10-25T03:00Z",
    ]));
});

test("what comes each hour comes in each hour that there is", () => {
  expect(times("*/30 * * * *", "Europe/Berlin", "2026-10-24T23:59:00Z", 6)).toEqual([
    "2026-10-25T00:00Z",
    "2026-10-25T00:30Z",
    "2026-10-25T01:00Z",
    "2026-10-25T01:30Z",
    "2026-10-25T02:00Z",
    "2026-10-25T02:30Z",
  ]);
  expect(times("30 * * * *", "Europe/Berlin", "2026-03-29T00:00:00Z", 3)).toEqual([
    "2026-03-29T00:30Z",
    "2026-03-29T01:30Z",
    "2026-03-29T02:30Z",
  ]);
  expect(times("@hourly", "America/New_York", "2026-03-08T06:30:00Z", 2)).toEqual([
    "2026-03-08T07:00Z",
    "2026-03-08T08:00Z",
  ]);
});

test("in each zone, over a year of changed clocks, each day has its time once", () => {
  const zones = [
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "Africa/Cairo",
    "America/Santiago",
  ];
  for (const name of [...zones, "Asia/Kolkata"]) {
    const zone = new Zone(name);
    for (const text of ["0 0 * * *", "30 1 * * *", "30 2 * * *", "59 23 * * *"]) {
      const cron = parseCron(text);
      const days = new Set<string>();
      let atMs = Date.UTC(2026, 0, 1, 12);
      for (let day = 0; day < 365; day++) {
        atMs = nextCron(cron, zone, atMs)!.atMs;
        days.add(new Date(zone.local(atMs)).toISOString().slice(0, 10));
      }
      expect(days.size, `${text} ${name}`).toBe(365);
    }
  }
});

test("a leap day, also over a century without one", () => {
  expect(times("0 0 29 2 *", "UTC", "2026-01-01T00:00:00Z", 2)).toEqual([
    "2028-02-29T00:00Z",
    "2032-02-29T00:00Z",
  ]);
  expect(times("0 0 29 2 *", "UTC", "2097-01-01T00:00:00Z", 1)).toEqual(["2104-02-29T00:00Z"]);
});

test("six fields begin with seconds", () => {
  expect(times("*/2 * * * * *", "UTC", "2026-01-01T00:00:57Z", 3)).toEqual([
    "2026-01-01T00:00:58Z",
    "2026-01-01T00:01Z",
    "2026-01-01T00:01:02Z",
  ]);
  expect(times("5,50-59/3 30 * * * *", "UTC", "2026-01-01T00:30:05Z", 3)).toEqual([
    "2026-01-01T00:30:50Z",
    "2026-01-01T00:30:53Z",
    "2026-01-01T00:30:56Z",
  ]);
});

test.each([
  ["30 2 30 2 *", /no such day ever comes/],
  ["0 0 31 4,6,9,11 *", /no such day ever comes/],
  ["60 * * * *", /out of range/],
  ["* * * *", /5 space-separated fields/],
  ["", /5 space-separated fields/],
  ["* * * * * * *", /too many fields/],
  ["*/0 * * * *", /positive/],
  ["60 * * * * *", /0 to 59/],
  ["9-3 * * * * *", /rising order/],
  ["*/0 * * * * *", /0 to 59/],
  ["x * * * * *", /the seconds/],
  ["@reboot", /./],
])("%s is refused", (text, reason) => expect(() => parseCron(text)).toThrow(reason));

test("a zone that nobody knows is refused, with the nearest one", () => {
  expect(zoneProblem("Europe/Berlim")).toEqual({
    message: 'there is no time zone "Europe/Berlim"',
    suggestion: "Europe/Berlin",
  });
  expect(zoneProblem("Europe/Berlin")).toBeNull();
  expect(() => new Zone("Mars/Olympus")).toThrow(/there is no time zone/);
});
