import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import type { ScheduleDefinition } from "../../model/schedule.ts";
import { rule } from "../../testing/rule-rig.ts";
import { schedule, ScheduleRig } from "../../testing/schedule-rig.ts";
import { settled } from "../../testing/virtual-clock.ts";

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const EACH_MINUTE = { cron: "* * * * *" };

let rig: ScheduleRig;
beforeEach(() => {
  rig = new ScheduleRig();
});
afterEach(() => rig.remove());

/** The agent is away for some time and comes back. */
async function restartAfter(ms: number, definitions: ScheduleDefinition[]): Promise<void> {
  await rig.close();
  await rig.clock.advance(ms);
  await rig.open(definitions);
  await settled();
}

describe("what is due fires once", () => {
  test("cron, with its event and its run in one transaction", async () => {
    await rig.open([schedule("tick", EACH_MINUTE, { params: { a: 1 } })]);
    await rig.clock.advance(3 * MINUTE + SECOND);
    expect(await rig.fired()).toEqual(["00:01:00", "00:02:00", "00:03:00"]);
    const [event] = await rig.events();
    expect(event).toMatchObject({
      source: "urn:holdfast:agent:web-01/schedule:tick",
      id: `tick@${Date.UTC(2026, 5, 1, 0, 1)}`,
      type: "schedule.due",
      subject: "tick",
      data: { scheduledMs: Date.UTC(2026, 5, 1, 0, 1), missed: 0 },
    });
    const runs = await rig.runs();
    expect(runs.map((run) => run.starter)).toEqual(Array(3).fill({ kind: "schedule", by: "tick" }));
    expect(runs[0]).toMatchObject({ eventId: event!.id, params: { a: 1 } });
    expect(rig.admitted.map(({ id }) => id)).toEqual(runs.map(({ id }) => id));
  });

  test("with seconds", async () => {
    await rig.open([schedule("fast", { cron: "*/2 * * * * *" })]);
    await rig.clock.advance(10 * SECOND);
    expect((await rig.runs()).length).toBe(5);
  });

  test("an interval, a moment, the start", async () => {
    const definitions = [
      schedule("every", { every: "7s" }),
      schedule("at", { at: "2026-06-01T00:00:10Z" }),
      schedule("init", { on: "init" }),
      schedule("first", { cron: "@once" }),
    ];
    await rig.open(definitions);
    await rig.clock.advance(30 * SECOND);
    const names = async () => (await rig.events()).map(({ subject }) => subject!);
    expect((await names()).toSorted()).toEqual(["at", "every", "every", "every", "every", "first", "init"]);
    await restartAfter(SECOND, definitions);
    // The agent started again: only `init` is due.
    expect((await names()).slice(7)).toEqual(["init"]);
    expect(rig.schedules.entries().map(({ state }) => state)).toEqual(["active", "ended", "ended", "ended"]);
  });

  test("rules can listen to it, and may start more", async () => {
    const derives = rule("r", {
      on: ["schedule:tick"],
      outcomes: [{ kind: "run", pipeline: "q", params: {} }],
    });
    rig.pipelines.add("q");
    await rig.open([schedule("tick", EACH_MINUTE), schedule("quiet", EACH_MINUTE, { run: null })], [derives]);
    await rig.clock.advance(2 * MINUTE + SECOND);
    expect((await rig.runs()).map(({ pipeline }) => pipeline).toSorted()).toEqual(["p", "p", "q", "q"]);
    expect((await rig.fired()).length).toBe(4);
  });

  test("a pipeline that there is not: the event says so, and nothing is tried for ever", async () => {
    await rig.open([schedule("lost", EACH_MINUTE, { run: "nothing" })]);
    await rig.clock.advance(90 * SECOND);
    expect((await rig.events()).map(({ data }) => data)).toEqual([
      { scheduledMs: Date.UTC(2026, 5, 1, 0, 1), missed: 0, problem: "there is no pipeline nothing here" },
    ]);
    expect(rig.schedules.counters).toMatchObject({ fired: 1, problems: 1 });
  });

  test("a spread puts it off by the same each time", async () => {
    await rig.open([schedule("tick", { cron: "0 * * * *" }, { spreadMs: HOUR })]);
    await rig.clock.advance(4 * HOUR);
    const offsets = (await rig.events()).map(
      ({ data }) => (data as { scheduledMs: number }).scheduledMs % HOUR,
    );
    expect(offsets.length).toBeGreaterThanOrEqual(3);
    expect(new Set(offsets)).toEqual(new Set([rig.schedules.entries()[0]!.offsetMs]));
  });
});

describe("what was missed while the agent was away", () => {
  const policies = (timing: object = EACH_MINUTE) => [
    schedule("skip", timing),
    schedule("once", timing, { missed: "once" }),
    schedule("all", timing, { missed: "all", maxMissed: 3 }),
  ];
  const of = async (name: string) =>
    (await rig.events())
      .filter(({ subject }) => subject === name)
      .map(({ type, data }) => [type, (data as { missed: number }).missed]);

  test("is skipped and told, made up for once, or each", async () => {
    const definitions = policies({ cron: "*/10 * * * *" });
    await rig.open(definitions);
    await restartAfter(55 * MINUTE, definitions);
    expect(await of("skip")).toEqual([["schedule.missed", 5]]);
    expect(await of("once")).toEqual([["schedule.due", 4]]);
    expect(await of("all")).toEqual([
      ["schedule.due", 2],
      ["schedule.due", 0],
      ["schedule.due", 0],
    ]);
    await restartAfter(SECOND, definitions);
    expect((await rig.events()).length).toBe(5);
  });

  test("an agent that is back within a minute has missed nothing", async () => {
    const definitions = policies();
    await rig.open(definitions);
    await rig.clock.advance(50 * SECOND);
    await restartAfter(20 * SECOND, definitions);
    for (const name of ["skip", "once", "all"]) expect(await of(name)).toEqual([["schedule.due", 0]]);
  });

  test("an interval goes on in its steps", async () => {
    const definitions = [schedule("e", { every: "10m" }, { missed: "all" })];
    await rig.open(definitions);
    await rig.clock.advance(11 * MINUTE);
    await restartAfter(20 * MINUTE, definitions);
    await rig.clock.advance(10 * MINUTE);
    expect(await rig.fired()).toEqual(["00:10:00", "00:20:00", "00:30:00", "00:40:00"]);
  });

  test("another timing begins anew", async () => {
    await rig.open([schedule("s", EACH_MINUTE, { missed: "all" })]);
    await restartAfter(10 * MINUTE, [schedule("s", { cron: "*/2 * * * *" }, { missed: "all" })]);
    expect(await rig.fired()).toEqual([]);
    // So does one that had been taken out.
    await restartAfter(SECOND, []);
    await restartAfter(10 * MINUTE, [schedule("s", { cron: "*/2 * * * *" }, { missed: "all" })]);
    expect(await rig.fired()).toEqual([]);
  });

  test("a moment that is over when the schedule comes", async () => {
    const at = { at: "2026-05-01T00:00:00Z" };
    await rig.open([schedule("skip", at), schedule("once", at, { missed: "once" })]);
    await rig.clock.advance(SECOND);
    expect(await of("skip")).toEqual([["schedule.missed", 1]]);
    expect(await of("once")).toEqual([["schedule.due", 0]]);
  });
});

describe("a wall clock that is set", () => {
  const definitions = [
    schedule("skip", EACH_MINUTE),
    schedule("once", EACH_MINUTE, { missed: "once" }),
    schedule("every", { every: "1m" }),
  ];
  const named = async (name: string) => (await rig.events()).filter(({ subject }) => subject === name);

  test("forward: what it jumped over was missed, and intervals do not notice", async () => {
    await rig.open(definitions);
    await rig.clock.advance(30 * SECOND);
    rig.clock.jumpWall(HOUR);
    await rig.clock.advance(2 * SECOND);
    expect(
      (await named("skip")).map(({ type, data }) => [type, (data as { missed: number }).missed]),
    ).toEqual([["schedule.missed", 60]]);
    expect((await named("once")).map(({ data }) => (data as { missed: number }).missed)).toEqual([59]);
    expect(await named("every")).toEqual([]);
    await rig.clock.advance(MINUTE);
    expect((await named("skip")).length).toBe(2);
    expect((await named("every")).length).toBe(1);
    expect(rig.watch.jumps).toBe(1);
    const jumps = (await rig.events()).filter(({ type }) => type === "clock.jumped");
    expect(jumps).toMatchObject([{ source: "urn:holdfast:agent:web-01/clock", data: { byMs: HOUR } }]);
  });

  test("is told also where nothing goes by it", async () => {
    await rig.open([]);
    await rig.clock.advance(MINUTE);
    rig.clock.jumpWall(-HOUR);
    await rig.clock.advance(10 * SECOND);
    expect((await rig.events()).map(({ data }) => data)).toEqual([{ byMs: -HOUR }]);
  });

  test("back: nothing fires twice, and what had not fired does", async () => {
    await rig.open([schedule("s", EACH_MINUTE)]);
    await rig.clock.advance(10 * MINUTE + SECOND);
    expect((await rig.runs()).length).toBe(10);
    rig.clock.jumpWall(-20 * MINUTE);
    await rig.clock.advance(22 * MINUTE);
    // Ten before the start and the two after 00:10 that are new; 00:01 to 00:10 only once.
    const ids = (await named("s")).map(({ id }) => id);
    expect(new Set(ids).size).toBe(ids.length);
    expect((await rig.runs()).length).toBe(22);
    expect(rig.schedules.counters.fired).toBe(22);
  });

  test("back by less than five minutes: it waits until the time is new again", async () => {
    await rig.open([schedule("s", EACH_MINUTE)]);
    await rig.clock.advance(10 * MINUTE + SECOND);
    rig.clock.jumpWall(-4 * MINUTE);
    await rig.clock.advance(4 * MINUTE - 2 * SECOND);
    expect((await rig.runs()).length).toBe(10);
    await rig.clock.advance(2 * MINUTE + 2 * SECOND);
    expect((await rig.runs()).length).toBe(12);
    expect(rig.watch.jumps).toBe(0);
  });

  test("years ahead and right again: the schedule goes on", async () => {
    await rig.open([schedule("s", EACH_MINUTE)]);
    rig.clock.jumpWall(365 * 24 * HOUR);
    await rig.clock.advance(5 * SECOND);
    await rig.close();
    rig.clock.jumpWall(-365 * 24 * HOUR);
    await rig.open([schedule("s", EACH_MINUTE)]);
    await rig.clock.advance(3 * MINUTE);
    expect((await rig.runs()).length).toBe(3);
  });

  test("asleep: the wall clock has gone on and nothing else; an interval counts the time awake", async () => {
    await rig.open([
      schedule("every", { every: "10m" }),
      schedule("cron", { cron: "0 * * * *" }, { missed: "once" }),
    ]);
    await rig.clock.advance(9 * MINUTE);
    rig.clock.jumpWall(8 * HOUR);
    await rig.clock.advance(30 * SECOND);
    expect((await named("cron")).map(({ data }) => (data as { missed: number }).missed)).toEqual([7]);
    expect(await named("every")).toEqual([]);
    await rig.clock.advance(31 * SECOND);
    expect((await named("every")).length).toBe(1);
  });
});

describe("pause", () => {
  const definitions = [schedule("s", EACH_MINUTE, { missed: "all" })];

  test("and resume survive a restart; what was due meanwhile is not made up for", async () => {
    await rig.open(definitions);
    await rig.clock.advance(MINUTE + SECOND);
    expect(await rig.schedules.pause("s", "local:0")).toBe(true);
    expect(await rig.schedules.pause("s", "local:0")).toBe(false);
    await rig.clock.advance(5 * MINUTE);
    await restartAfter(5 * MINUTE, definitions);
    await rig.clock.advance(5 * MINUTE);
    expect((await rig.runs()).length).toBe(1);
    expect(rig.schedules.entries()[0]!.state).toBe("paused");
    expect(rig.schedules.entries()[0]!.memory.paused).toEqual({
      by: "local:0",
      atMs: Date.UTC(2026, 5, 1, 0, 1, 1),
    });
    expect(await rig.schedules.resume("s", "local:0")).toBe(true);
    expect(await rig.schedules.resume("s", "local:0")).toBe(false);
    await restartAfter(SECOND, definitions);
    await rig.clock.advance(MINUTE);
    expect((await rig.runs()).length).toBe(2);
    const types = (await rig.events()).map(({ type }) => type);
    expect(types).toEqual(["schedule.due", "schedule.paused", "schedule.resumed", "schedule.due"]);
  });

  test("outlives another timing", async () => {
    await rig.open(definitions);
    await rig.schedules.pause("s", "local:0");
    await restartAfter(SECOND, [schedule("s", { every: "1s" })]);
    await rig.clock.advance(MINUTE);
    expect(await rig.runs()).toEqual([]);
  });

  test("of what does not run here is refused", async () => {
    await rig.open([schedule("off", EACH_MINUTE, { enabled: false }), schedule("nightly", EACH_MINUTE)]);
    await rig.clock.advance(2 * MINUTE);
    expect((await rig.events()).map(({ subject }) => subject)).toEqual(["nightly", "nightly"]);
    await expect(rig.schedules.pause("off", "local:0")).rejects.toThrow(/disabled in the configuration/);
    await expect(rig.schedules.pause("nigtly", "local:0")).rejects.toThrow(/did you mean nightly/);
  });
});

describe("trouble", () => {
  test("a commit that fails is tried again, and nothing is lost", async () => {
    await rig.open([schedule("s", EACH_MINUTE)]);
    rig.store.order({ label: "commit", at: "before", with: "SQLITE_IOERR_WRITE", skip: 0 });
    await rig.clock.advance(5 * MINUTE);
    expect(await rig.fired()).toEqual(["00:01:00", "00:02:00", "00:03:00", "00:04:00", "00:05:00"]);
  });

  test("while there is no room for runs it waits, and tells what it missed", async () => {
    const free = Promise.withResolvers<void>();
    rig.room = () => free.promise;
    await rig.open([schedule("s", EACH_MINUTE)]);
    await rig.clock.advance(10 * MINUTE);
    expect(await rig.events()).toEqual([]);
    free.resolve();
    await rig.clock.advance(MINUTE);
    expect(await rig.fired()).toEqual(["00:10:00 +9", "00:11:00"]);
  });

  test("a pause does not wait for room either", async () => {
    const free = Promise.withResolvers<void>();
    rig.room = () => free.promise;
    await rig.open([schedule("s", EACH_MINUTE)]);
    await rig.clock.advance(2 * MINUTE);
    await rig.schedules.pause("s", "local:0");
    free.resolve();
    await rig.clock.advance(5 * MINUTE);
    expect(await rig.fired()).toEqual([]);
    await rig.schedules.resume("s", "local:0");
    await rig.clock.advance(MINUTE);
    expect((await rig.fired()).length).toBe(1);
  });

  test("stopping does not wait for room", async () => {
    rig.room = () => new Promise(() => {});
    await rig.open([schedule("s", EACH_MINUTE)]);
    await rig.clock.advance(2 * MINUTE);
  });

  test("at most some fire at once", async () => {
    const many = Array.from({ length: 500 }, (_, index) => schedule(`s${index}`, EACH_MINUTE));
    let waiting = 0;
    let most = 0;
    rig.room = async () => {
      most = Math.max(most, ++waiting);
      await settled();
      waiting--;
    };
    await rig.open(many);
    await rig.clock.advance(MINUTE + SECOND, async () => {
      await settled();
    });
    for (let turn = 0; turn < 50; turn++) await settled();
    expect((await rig.runs()).length).toBe(500);
    expect(most).toBeLessThanOrEqual(64);
  });
});

test("what is to come is told by the host's clock, with what the clocks do", async () => {
  await rig.open([
    schedule("day", { cron: "30 2 * * *", time_zone: "Europe/Berlin" }),
    schedule("every", { every: "10m" }),
    schedule("at", { at: "2026-06-02T00:00:00Z" }),
  ]);
  await rig.clock.advance(MINUTE);
  rig.clock.jumpWall(HOUR);
  const times = (name: string, count: number) =>
    rig.schedules.next(name, count).map(({ atMs }) => new Date(atMs).toISOString().slice(5, 16));
  expect(times("every", 2)).toEqual(["06-01T01:10", "06-01T01:20"]);
  expect(times("at", 5)).toEqual(["06-02T00:00"]);
  expect(rig.schedules.next("day", 200).map(({ shift }) => shift)).toContain("twice");
});
