import { describe, expect, test } from "bun:test";
import { parseCron } from "./cron.ts";
import { Zone } from "./cron-zone.ts";
import { LATE_MS, MAX_COUNTED, nextDue, settle, spreadOffset, type Timing } from "./schedule.ts";
import type { MissedPolicy } from "./schedule-policy.ts";
import { parseTime } from "./schedule-time.ts";
import { parseTiming, zoneCache } from "./schedule-timing.ts";

const MINUTE = 60_000;
const T0 = Date.UTC(2026, 5, 1);
const EACH_MINUTE: Timing = {
  kind: "cron",
  text: "* * * * *",
  cron: parseCron("* * * * *"),
  zone: new Zone("UTC"),
};

/** Minutes after T0; the agent saw the time go on evenly since `reached`. */
function settled(
  missed: MissedPolicy,
  now: number,
  { reached = -1, maxMissed = 100, timing = EACH_MINUTE as Timing } = {},
) {
  const times = { cursorMs: T0, nowMs: T0 + now * MINUTE, reachedMs: T0 + reached * MINUTE };
  const firing = settle({ timing, missed, maxMissed }, 0, times);
  return (
    firing && {
      fire: firing.fire.map(({ atMs, missed: before }) => [(atMs - T0) / MINUTE, before]),
      skipped: firing.skipped?.count ?? 0,
      cursor: (firing.cursorMs - T0) / MINUTE,
    }
  );
}

describe("what is due is settled", () => {
  test("nothing before its time", () => expect(settled("all", 0.9)).toBeNull());

  test("a time that has just come fires, whatever the policy", () => {
    for (const policy of ["skip", "once", "all"] as const)
      expect(settled(policy, 1.001)).toEqual({ fire: [[1, 0]], skipped: 0, cursor: 1 });
  });

  test("late by a minute is not missed, by more it is", () => {
    const timing: Timing = { kind: "at", atMs: T0 + MINUTE };
    const late = LATE_MS / MINUTE;
    expect(settled("skip", 1 + late, { timing })).toEqual({ fire: [[1, 0]], skipped: 0, cursor: 1 });
    expect(settled("skip", 1.001 + late, { timing })).toEqual({ fire: [], skipped: 1, cursor: 1 });
    expect(settled("once", 1.001 + late, { timing })).toEqual({ fire: [[1, 0]], skipped: 0, cursor: 1 });
  });

  test("after five minutes away", () => {
    expect(settled("skip", 5.5)).toEqual({ fire: [[5, 4]], skipped: 0, cursor: 5 });
    expect(settled("once", 5.5)).toEqual({ fire: [[5, 4]], skipped: 0, cursor: 5 });
    expect(settled("all", 5.5)?.fire.map(([at]) => at)).toEqual([1, 2, 3, 4, 5]);
    // Two at most of those that were missed, the newest, and the one that is on time.
    expect(settled("all", 5.5, { maxMissed: 2 })?.fire).toEqual([
      [3, 2],
      [4, 0],
      [5, 0],
    ]);
  });

  test("what a clock jumps over is missed, however near", () => {
    const jumped = { reached: 5.4 };
    expect(settled("skip", 5.5, jumped)).toEqual({ fire: [], skipped: 5, cursor: 5 });
    expect(settled("once", 5.5, jumped)).toEqual({ fire: [[5, 4]], skipped: 0, cursor: 5 });
    expect(settled("all", 5.5, jumped)?.fire.map(([at]) => at)).toEqual([1, 2, 3, 4, 5]);
  });

  test("years are counted to a bound, and the newest are made up for", () => {
    const year = 365 * 24 * 60;
    expect(settled("all", year, { reached: year })?.fire).toEqual(
      Array.from({ length: 100 }, (_, index) => [year - 99 + index, index === 0 ? 1 : 0]),
    );
    expect(settled("skip", year, { reached: year })?.skipped).toBe(MAX_COUNTED + 1);
  });

  test("times that come in bursts are found among long gaps", () => {
    const cron = parseCron("* * 3 * * *");
    const timing: Timing = { kind: "cron", text: "", cron, zone: new Zone("UTC") };
    const fire = settled("all", 20 * 60, { timing })!.fire;
    expect(fire.length).toBe(100);
    expect(fire.at(-1)).toEqual([4 * 60 - 1 / 60, 0]);
  });

  test("an interval keeps its steps", () => {
    const timing: Timing = { kind: "every", everyMs: 7 * MINUTE };
    expect(settled("all", 30, { timing })?.fire.map(([at]) => at)).toEqual([7, 14, 21, 28]);
    expect(settled("skip", 30, { timing })).toEqual({ fire: [], skipped: 4, cursor: 28 });
  });
});

test("a spread is stable, within its bounds, and another one for each", () => {
  const offsets = Array.from({ length: 1000 }, (_, index) => spreadOffset(`web-${index}`, "backup", 600_000));
  expect(Math.min(...offsets)).toBeGreaterThanOrEqual(0);
  expect(Math.max(...offsets)).toBeLessThan(600_000);
  const tenths = Map.groupBy(offsets, (offset) => Math.floor(offset / 60_000));
  for (let tenth = 0; tenth < 10; tenth++) expect(tenths.get(tenth)!.length).toBeGreaterThan(50);
  expect(spreadOffset("web-7", "backup", 600_000)).toBe(offsets[7]!);
  expect(nextDue(EACH_MINUTE, 1234, T0)!.atMs).toBe(T0 + 1234);
  expect(nextDue(EACH_MINUTE, 1234, T0 + 1234)!.atMs).toBe(T0 + MINUTE + 1234);
});

describe("what a configuration says", () => {
  const zones = zoneCache(() => "Europe/Berlin");
  test.each([
    [{ every: "30s" }, { kind: "every", everyMs: 30_000 }],
    [{ cron: "@every 1h30m" }, { kind: "every", everyMs: 5_400_000 }],
    [{ cron: "@init" }, { kind: "init", once: false }],
    [{ on: "init" }, { kind: "init", once: false }],
    [{ cron: "@once" }, { kind: "init", once: true }],
    [{ at: "2026-06-01T00:00:00Z" }, { kind: "at", atMs: T0 }],
    [{ cron: "@once 2026-06-01T02:00:00+02:00" }, { kind: "at", atMs: T0 }],
  ])("%j", (input, timing) => expect(parseTiming(input, zones)).toEqual(timing as Timing));

  test("cron goes by the zone that it names, else by the host's", () => {
    expect(parseTiming({ cron: "@daily" }, zones)).toMatchObject({ zone: { name: "Europe/Berlin" } });
    expect(parseTiming({ cron: "@daily", time_zone: "UTC" }, zones)).toMatchObject({ zone: { name: "UTC" } });
  });

  test.each([
    { every: "500ms" },
    { cron: "@every soon" },
    { at: "tomorrow" },
    { cron: "@once soon" },
    { cron: "@init x" },
  ])("%j is refused", (input) => expect(() => parseTiming(input, zones)).toThrow());

  test("a day that there is not is no time", () => {
    expect(() => parseTime("2026-02-30T00:00:00Z")).toThrow(/is no time/);
    expect(() => parseTime("2026-13-01T00:00:00Z")).toThrow(/is no time/);
    expect(() => parseTime("2026-01-01T25:00:00Z")).toThrow(/is no time/);
    expect(parseTime("2026-06-01T00:00:00.5Z")).toBe(T0 + 500);
  });
});
