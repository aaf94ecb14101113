import { describe, expect, test } from "bun:test";
import { silentLogger } from "../../core/logger.ts";
import type { MaintenanceDefinition } from "../../model/maintenance.ts";
import { type FiringFacts, parseMatch, type Silence } from "../../model/silence.ts";
import { VirtualClock } from "../../testing/virtual-clock.ts";
import { MAX_ACTIVE, Silences } from "./silences.ts";
import { MaintenanceWindows } from "./windows.ts";

const HOUR = 3_600_000;
const YEAR = 365 * 24 * HOUR;
const FACTS: FiringFacts = {
  ...{ rule: "front is down", namespace: "web", pipeline: "restart", trigger: "front", type: "down" },
  ...{ subject: null, key: null, severity: "error" },
};
const ASKED = {
  match: [parseMatch("rule=front*")],
  ...{ mute: ["runs" as const], forMs: 2 * HOUR, comment: "why", by: "local:7" },
};

function rig(
  rows = new Map<string, Silence>(),
  clock = new VirtualClock(),
  windows: MaintenanceDefinition[] = [],
) {
  let failing = false;
  let n = 0;
  const silences = new Silences({
    store: {
      silences: async () => structuredClone([...rows.values()]),
      putSilence: async (silence) => {
        if (failing) throw new Error("no space left on device");
        rows.set(silence.id, structuredClone(silence));
      },
    },
    windows: new MaintenanceWindows(windows, clock, silentLogger()),
    labels: { site: "berlin" },
    clock,
    ids: { hex: () => (0xabcd0000 + n++).toString(16) },
    log: silentLogger(),
  });
  return { silences, rows, clock, fail: (is: boolean) => void (failing = is) };
}

const by = (silences: Silences, facts: Partial<FiringFacts> = {}) =>
  silences.of(() => ({ ...FACTS, ...facts }))?.by ?? null;

describe("a silence", () => {
  test("holds for what matches until its time is over, whatever the wall clock does", async () => {
    const { silences, clock } = rig();
    expect(by(silences)).toBeNull();
    const { id } = await silences.add(ASKED);
    expect(by(silences)).toEqual({ runs: id });
    expect(by(silences, { rule: "back is down" })).toBeNull();
    clock.jumpWall(YEAR);
    await clock.advance(HOUR);
    expect(by(silences)).toEqual({ runs: id });
    clock.jumpWall(-2 * YEAR);
    await clock.advance(HOUR - 1);
    expect(by(silences)).toEqual({ runs: id });
    await clock.advance(1);
    expect(by(silences)).toBeNull();
    expect(silences.list().map(({ state }) => state)).toEqual(["ended"]);
    expect(silences.active).toBe(0);
  });

  test("is there after a restart with what it has counted; one that was ended stays ended", async () => {
    const { silences, rows, clock } = rig();
    const { id } = await silences.add(ASKED);
    silences.of(() => FACTS)!.count("runs");
    expect(rows.get(id)!.counts.runs).toBe(0);
    await clock.advance(10_000);
    expect(rows.get(id)!.counts.runs).toBe(1);
    silences.of(() => FACTS)!.count("runs");
    await silences.stop();
    const next = rig(rows, clock);
    await next.silences.load();
    expect(next.silences.show(id)).toMatchObject({ state: "active", counts: { runs: 2 } });
    await next.silences.end(id, "local:8");
    expect(by(next.silences)).toBeNull();
    const last = rig(rows, clock);
    await last.silences.load();
    expect(last.silences.show(id)).toMatchObject({ state: "ended", ended: { by: "local:8" } });
    await expect(last.silences.end(id, "local:8")).rejects.toThrow("is over already");
  });

  test("that could not be stored does not hold; one whose end could not be stored goes on", async () => {
    const { silences, fail } = rig();
    fail(true);
    await expect(silences.add(ASKED)).rejects.toThrow("no space left");
    expect(by(silences)).toBeNull();
    fail(false);
    const { id } = await silences.add(ASKED);
    fail(true);
    await expect(silences.end(id, "local:7")).rejects.toThrow("no space left");
    expect(by(silences)).toEqual({ runs: id });
  });

  test("counts with others for all that they mute, and the first of each is named", async () => {
    const { silences } = rig();
    const first = await silences.add(ASKED);
    const second = await silences.add({ ...ASKED, mute: ["runs", "events"] });
    const quiet = silences.of(() => FACTS)!;
    expect(quiet.by).toEqual({ runs: first.id, events: second.id });
    quiet.count("runs");
    quiet.count("events");
    expect([first.counts, second.counts]).toEqual([
      { runs: 1, findings: 0, events: 0 },
      { runs: 1, findings: 0, events: 1 },
    ]);
    expect(silences.totals).toEqual({ runs: 1, findings: 0, events: 1 });
  });

  test("is found by a part of its id when that is the only one; there are no more than there may be", async () => {
    const { silences } = rig();
    for (let n = 0; n < MAX_ACTIVE; n++) await silences.add(ASKED);
    await expect(silences.add(ASKED)).rejects.toThrow("as many as there may be");
    expect(silences.show("0007").id).toBe("abcd0007");
    expect(() => silences.show("abcd")).toThrow("give more of it");
    expect(() => silences.show("ffff")).toThrow("there is no silence ffff");
  });
});

describe("a maintenance window", () => {
  const at = Date.UTC(2026, 11, 1);
  const window = (name: string, more: Partial<MaintenanceDefinition>): MaintenanceDefinition => ({
    ...{ name, match: ASKED.match, mute: ["findings"], brake: false },
    ...{ timing: { kind: "once", fromMs: at + HOUR, forMs: HOUR }, ...more },
  });

  test("silences while it is open; one without a match silences nothing", async () => {
    const both = [window("a", {}), window("b", { match: [], brake: true })];
    const { silences, clock } = rig(new Map(), new VirtualClock(at), both);
    expect(by(silences)).toBeNull();
    await clock.advance(HOUR);
    expect(by(silences)).toEqual({ findings: "maintenance:a" });
    silences.of(() => FACTS)!.count("findings");
    expect(silences.show("maintenance:a")).toMatchObject({ state: "active", counts: { findings: 1 } });
    expect(silences.show("maintenance:b").mute).toEqual([]);
    await expect(silences.end("maintenance:a", "local:0")).rejects.toThrow("is of the configuration");
    await clock.advance(HOUR);
    expect(by(silences)).toBeNull();
    expect(silences.list().map(({ state }) => state)).toEqual(["closed", "closed"]);
  });
});
