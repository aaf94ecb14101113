import { describe, expect, test } from "bun:test";
import { HoldfastError } from "../../core/errors.ts";
import { silentLogger } from "../../core/logger.ts";
import type { ProposedEvent } from "../../model/event.ts";
import type { Json } from "../../model/json.ts";
import { VirtualClock } from "../../testing/virtual-clock.ts";
import { Brake } from "./brake.ts";

const HOUR = 3_600_000;
const YEAR = 365 * 24 * HOUR;

function rig(settings = new Map<string, Json>(), clock = new VirtualClock()) {
  const told: ProposedEvent[] = [];
  const changes: boolean[] = [];
  const windows: { name: string; untilMs: number }[] = [];
  let broken = false;
  const brake = new Brake({
    store: {
      setting: async (key) => settings.get(key),
      setSetting: async (key, value) => {
        if (broken) throw new HoldfastError("exhausted", "the disk is full");
        settings.set(key, value);
      },
    },
    windows: () => windows,
    tell: async (event) => void told.push(event),
    clock,
    log: silentLogger(),
  });
  brake.onChange((on) => changes.push(on));
  return { brake, told, changes, windows, settings, clock, breakStore: (is = true) => void (broken = is) };
}

const ASKED = { by: "local:7", reason: "disk swap", forMs: null };

describe("the brake", () => {
  test("is on, is told with who and why, is there after a restart, and is released once", async () => {
    const { brake, told, changes, settings } = rig();
    await brake.load();
    expect(brake.reason()).toBeNull();
    await brake.on(ASKED);
    expect(brake.reason()).toBe("held back by the brake (local:7: disk swap)");
    expect(told).toEqual([
      {
        type: "agent.brake.on",
        severity: "warning",
        data: { by: "local:7", reason: "disk swap", until: null },
      },
    ]);
    const next = rig(settings);
    await next.brake.load();
    expect(next.brake.state()).toMatchObject({ on: true, set: { by: "local:7", untilMs: null } });
    expect(await next.brake.off("local:8")).toBe(true);
    expect(await next.brake.off("local:8")).toBe(false);
    expect(next.brake.reason()).toBeNull();
    expect(next.told).toEqual([
      { type: "agent.brake.off", severity: "info", data: { by: "local:8", reason: "disk swap" } },
    ]);
    expect(changes).toEqual([true]);
    expect(next.changes).toEqual([true, false]);
    expect(settings.get("brake")).toBeNull();
  });

  test("ends by trusted time: a wall that jumps a year neither ends nor prolongs it", async () => {
    const { brake, clock, told, changes } = rig();
    await brake.load();
    brake.start();
    await brake.on({ ...ASKED, forMs: 2 * HOUR });
    clock.jumpWall(YEAR);
    await clock.advance(HOUR);
    expect(brake.reason()).not.toBeNull();
    clock.jumpWall(-2 * YEAR);
    await clock.advance(HOUR - 1);
    expect(brake.reason()).not.toBeNull();
    await clock.advance(1);
    expect(brake.reason()).toBeNull();
    expect(told.map(({ type, data }) => [type, (data as { by: string }).by])).toEqual([
      ["agent.brake.on", "local:7"],
      ["agent.brake.off", "time"],
    ]);
    expect(changes.at(-1)).toBe(false);
    await brake.stop();
  });

  test("whose time went by while the agent was off is over at the next start, and told", async () => {
    const { brake, settings, clock } = rig();
    await brake.on({ ...ASKED, forMs: HOUR });
    await brake.stop();
    await clock.advance(2 * HOUR);
    const next = rig(settings, clock);
    await next.brake.load();
    expect(next.brake.reason()).toBeNull();
    next.brake.start();
    await clock.advance(0);
    expect(next.told.map(({ type }) => type)).toEqual(["agent.brake.off"]);
    expect(settings.get("brake")).toBeNull();
  });

  test("that cannot be stored is on all the same, and says that it does not last; one that cannot be released stays", async () => {
    const { brake, settings, breakStore } = rig();
    breakStore();
    const failure = await brake.on(ASKED).catch((error: Error) => error.message);
    expect(failure).toContain("the brake is on, but it could not be stored");
    expect(failure).toContain("the disk is full");
    expect(brake.reason()).not.toBeNull();
    expect(settings.has("brake")).toBe(false);
    breakStore(false);
    await brake.on(ASKED);
    breakStore();
    await expect(brake.off("local:7")).rejects.toThrow("the disk is full");
    expect(brake.reason()).not.toBeNull();
  });

  test("of which nobody can read what the store says is on", async () => {
    const { brake } = rig(new Map<string, Json>([["brake", { by: 7 }]]));
    await brake.load();
    expect(brake.reason()).toContain("cannot be read");
  });

  test("of a maintenance window goes on when a person's is released", async () => {
    const { brake, windows, changes } = rig();
    windows.push({ name: "sunday", untilMs: Infinity });
    brake.update();
    await brake.on(ASKED);
    await brake.off("local:7");
    expect(brake.reason()).toBe("held back by the brake of maintenance window sunday");
    windows.length = 0;
    brake.update();
    expect(brake.reason()).toBeNull();
    expect(changes.at(-1)).toBe(false);
  });

  test("of a window is told as it begins and ends, also of one that was open as the agent started", async () => {
    const { brake, windows, told } = rig();
    windows.push({ name: "first", untilMs: Date.UTC(2026, 11, 1, 2) });
    await brake.load();
    brake.update();
    expect(told).toEqual([]);
    brake.start();
    windows[0] = { name: "second", untilMs: Date.UTC(2026, 11, 1, 3) };
    brake.update();
    brake.update();
    expect(told.map(({ type, data }) => `${type.slice(12)} ${(data as { by: string }).by}`)).toEqual([
      "on maintenance:first",
      "on maintenance:second",
      "off maintenance:first",
    ]);
    expect(told[0]!.data).toMatchObject({ until: "2026-12-01T02:00:00.000Z" });
  });
});
