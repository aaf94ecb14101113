import { describe, expect, test } from "bun:test";
import { parseCron } from "./cron.ts";
import { Zone } from "./cron-zone.ts";
import { nextOpening, openSince, type WindowTiming } from "./maintenance.ts";

const HOUR = 3_600_000;

function cron(text: string, forMs: number, zone = "UTC"): WindowTiming {
  return { kind: "cron", text, cron: parseCron(text), zone: new Zone(zone), forMs };
}
const at = (text: string) => Date.parse(text);
const shown = (ms: number | null) =>
  ms === null ? null : new Date(ms).toISOString().replace(":00.000Z", "Z");

describe("when a window is open", () => {
  const sunday = cron("0 2 * * 0", 2 * HOUR);
  const berlin = cron("30 2 * * *", HOUR, "Europe/Berlin");
  const often = cron("* * * * * *", HOUR);
  const overlapping = cron("0 */2 * * *", 5 * HOUR);
  test.each<[string, WindowTiming, string, string | null]>([
    ["before it", sunday, "2026-11-22T01:59:59Z", null],
    ["as it begins", sunday, "2026-11-22T02:00:00Z", "2026-11-22T02:00Z"],
    ["in it", sunday, "2026-11-22T03:59:59Z", "2026-11-22T02:00Z"],
    ["as it ends", sunday, "2026-11-22T04:00:00Z", null],
    ["a gap of the clocks: right after it", berlin, "2027-03-28T01:00:00Z", "2027-03-28T01:00Z"],
    ["an hour after the gap", berlin, "2027-03-28T02:00:00Z", null],
    ["a time that comes twice: the first", berlin, "2027-10-31T01:00:00Z", "2027-10-31T00:30Z"],
    ["and not the second", berlin, "2027-10-31T01:35:00Z", null],
    ["every second: the newest", often, "2026-11-22T03:59:59.500Z", "2026-11-22T03:59:59.000Z"],
    ["of several the newest", overlapping, "2026-11-22T03:00:00Z", "2026-11-22T02:00Z"],
  ])("%s", (_, timing, now, since) => expect(shown(openSince(timing, at(now)))).toBe(since));

  test("one of two moments", () => {
    const once: WindowTiming = { kind: "once", fromMs: 100, forMs: 50 };
    expect([99, 100, 149, 150].map((now) => openSince(once, now))).toEqual([null, 100, 100, null]);
    expect([99, 100].map((now) => nextOpening(once, now))).toEqual([100, null]);
  });

  test("the newest is found as a naive search finds it", () => {
    for (const timing of [cron("*/7 3-5 * * *", 6 * HOUR), cron("0 */5 * * *", 7 * HOUR), berlin]) {
      for (let now = at("2027-03-27T00:00:00Z"); now < at("2027-03-29T12:00:00Z"); now += 13 * 60_000) {
        let newest: number | null = null;
        for (
          let next = nextOpening(timing, now - timing.forMs);
          next !== null && next <= now;
          next = nextOpening(timing, next)
        )
          newest = next;
        expect(shown(openSince(timing, now))).toBe(shown(newest));
      }
    }
  });
});
