import { expect, test } from "bun:test";
import { silentLogger } from "../../core/logger.ts";
import { parseCron } from "../../model/cron.ts";
import { Zone } from "../../model/cron-zone.ts";
import type { MaintenanceDefinition } from "../../model/maintenance.ts";
import { VirtualClock } from "../../testing/virtual-clock.ts";
import { MaintenanceWindows } from "./windows.ts";

const HOUR = 3_600_000;
const YEAR = 365 * 24 * HOUR;
const WINDOW: MaintenanceDefinition = {
  ...{ name: "nightly", match: [{ name: "rule", pattern: "*" }], mute: ["runs"], brake: false },
  timing: {
    ...{ kind: "cron", text: "0 2 * * *", cron: parseCron("0 2 * * *"), zone: new Zone("UTC") },
    forMs: 2 * HOUR,
  },
};

function rig(wall = "2026-12-01T00:00:00Z") {
  const clock = new VirtualClock(Date.parse(wall));
  const windows = new MaintenanceWindows([WINDOW], clock, silentLogger());
  const told: string[] = [];
  windows.onChange(() =>
    told.push(`${windows.open().length} ${new Date(clock.wall()).toISOString().slice(5, 16)}`),
  );
  windows.start();
  return { clock, windows, told };
}

test("opens and closes at its times, and is told as it does", async () => {
  const { clock, told } = rig();
  await clock.advance(27 * HOUR);
  expect(told).toEqual(["1 12-01T02:00", "0 12-01T04:00", "1 12-02T02:00"]);
});

test("is found open by an agent that starts in it, until the time that is left is over", async () => {
  const { clock, told } = rig("2026-12-01T03:30:00Z");
  expect(told).toEqual(["1 12-01T03:30"]);
  await clock.advance(HOUR);
  expect(told.at(-1)).toBe("0 12-01T04:00");
});

test("a wall clock that jumps neither ends nor prolongs it, and does not open it twice for one time", async () => {
  const { clock, windows, told } = rig("2026-12-01T02:00:00Z");
  await clock.advance(HOUR);
  clock.jumpWall(YEAR);
  expect(windows.open()).toHaveLength(1);
  await clock.advance(HOUR - 1);
  expect(windows.open()).toHaveLength(1);
  await clock.advance(1);
  expect(windows.open()).toHaveLength(0);
  clock.jumpWall(-YEAR);
  // It is 04:00 once more, and the hour before it again.
  expect(windows.open()).toHaveLength(0);
  clock.jumpWall(-HOUR);
  expect(windows.open()).toHaveLength(0);
  await clock.advance(23 * HOUR);
  expect(windows.open()).toHaveLength(1);
  expect(told.map((each) => each[0]!)).toEqual(["1", "0", "1"]);
});

test("a clock that is set back to before it opens it again when its time comes again", async () => {
  const { clock, windows } = rig("2026-12-01T02:00:00Z");
  await clock.advance(3 * HOUR);
  clock.jumpWall(-4 * HOUR);
  expect(windows.open()).toHaveLength(0);
  await clock.advance(HOUR);
  expect(windows.open()).toHaveLength(1);
});
