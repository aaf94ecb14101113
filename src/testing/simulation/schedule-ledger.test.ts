import { expect, test } from "bun:test";
import type { CloudEvent } from "../../model/event.ts";
import { type ScheduleDefinition, SCHEDULE_PREFIX } from "../../model/schedule.ts";
import { parseTiming, type TimingInput, zoneCache } from "../../model/schedule-timing.ts";
import { ScheduleLedger } from "./schedule-ledger.ts";
import { Story } from "./story.ts";

const TRIGGER = `${SCHEDULE_PREFIX}t0`;
const MINUTE = 60_000;

function ledgerOf(missed: ScheduleDefinition["missed"], timing: TimingInput = { every: "1m" }) {
  const definition: ScheduleDefinition = {
    ...{ name: "t0", enabled: true, run: null, params: {}, maxMissed: 2, spreadMs: 0, missed },
    timing: parseTiming(
      timing,
      zoneCache(() => "UTC"),
    ),
  };
  const story = new Story(() => 0);
  const ledger = new ScheduleLedger([definition], story);
  const moved = (cursorMs: number, paused = false) =>
    ledger.moved(TRIGGER, { cursorMs, paused: paused ? { by: "somebody", atMs: 0 } : null });
  const fires = (scheduledMs: number, left = 0) =>
    ledger.committed(TRIGGER, {
      type: "schedule.due",
      data: { scheduledMs, missed: left },
    } as unknown as CloudEvent);
  moved(0);
  return { ledger, moved, fires, what: () => story.violation?.what ?? null };
}

test("a schedule that keeps its policy breaks nothing", () => {
  const { ledger, moved, fires, what } = ledgerOf("all");
  fires(MINUTE);
  moved(MINUTE);
  for (const at of [4, 5]) fires(at * MINUTE, at === 4 ? 2 : 0);
  moved(5 * MINUTE);
  moved(5 * MINUTE, true);
  moved(9 * MINUTE);
  ledger.ended(0, 9 * MINUTE);
  expect(what()).toBeNull();
});

test("what a clock jumped over may fire once it was there again, in another life, or by another policy", () => {
  const jumped = (missed: ScheduleDefinition["missed"]) => {
    const rig = ledgerOf(missed, { cron: "* * * * *" });
    rig.ledger.jumped(0, 10 * MINUTE, 0);
    return rig;
  };
  const back = jumped("skip");
  back.ledger.jumped(10 * MINUTE, 0, 1_000);
  back.fires(9 * MINUTE);
  const reborn = jumped("skip");
  reborn.ledger.begun();
  reborn.fires(9 * MINUTE);
  const once = jumped("once");
  once.fires(9 * MINUTE);
  const late = jumped("skip");
  late.fires(11 * MINUTE);
  expect([back, reborn, once, late].map(({ what }) => what())).toEqual([null, null, null, null]);
});

test("what fires twice, off its time, while paused, too often, or is not told is seen", () => {
  const twice = ledgerOf("once");
  twice.fires(MINUTE);
  twice.moved(MINUTE);
  twice.fires(MINUTE);
  expect(twice.what()).toContain("fired twice");

  const off = ledgerOf("once");
  off.fires(MINUTE + 1);
  off.moved(2 * MINUTE);
  expect(off.what()).toContain("is not due");

  const paused = ledgerOf("once");
  paused.moved(0, true);
  paused.fires(MINUTE);
  paused.moved(MINUTE);
  expect(paused.what()).toContain("while it was paused");

  const often = ledgerOf("once");
  for (const at of [1, 2]) often.fires(at * MINUTE);
  often.moved(2 * MINUTE);
  expect(often.what()).toContain("2 fired");

  const silent = ledgerOf("skip");
  silent.fires(3 * MINUTE, 1);
  silent.moved(3 * MINUTE);
  expect(silent.what()).toContain("not all are told");

  const over = ledgerOf("skip", { cron: "* * * * *" });
  over.ledger.jumped(0, 10 * MINUTE, 0);
  over.fires(9 * MINUTE);
  expect(over.what()).toContain("jumped over");

  const left = ledgerOf("skip");
  left.ledger.ended(0, MINUTE);
  expect(left.what()).toContain("not settled");
});
