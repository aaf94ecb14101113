import { expect, test } from "bun:test";
import { nextDue, type ScheduleDefinition, spreadOffset } from "../../model/schedule.ts";
import { AGENT } from "../../testing/rule-rig.ts";
import { schedule, ScheduleRig } from "../../testing/schedule-rig.ts";
import { Seeded } from "../../testing/seeded.ts";
import { settled } from "../../testing/virtual-clock.ts";

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;

const TIMINGS = [
  { cron: "* * * * *" },
  { cron: "*/7 * * * *" },
  { cron: "30 */2 * * *", time_zone: "Europe/Berlin" },
  { cron: "20,40 * * * * *" },
  { every: "3m" },
  { every: "45s" },
];

interface Told {
  fired: number[];
  /** Missed, by the number of due times. */
  missed: number;
}

/**
 * Schedules through crashes at any write, restarts, and times away; with `jumps` the wall clock is set forward and back as
 * well. Gives the definitions and the time at the start.
 */
async function life(rig: ScheduleRig, seeded: Seeded, jumps: boolean) {
  const definitions: ScheduleDefinition[] = TIMINGS.map((timing, index) =>
    schedule(`s${index}`, timing, {
      missed: seeded.pick(["skip", "once", "all"]),
      maxMissed: seeded.int(1, 100),
      spreadMs: seeded.pick([0, 90 * SECOND]),
    }),
  );
  await rig.open(definitions);
  const began = { wall: rig.clock.wall(), trusted: rig.clock.trusted() };
  for (let turn = 0; turn < 12; turn++) {
    const what = seeded.next();
    if (what < 0.35) {
      const label = seeded.pick(["commit", "events.insert", "checkpoints.put", "runs.insert"]);
      const at = seeded.pick(["before", "after"] as const);
      rig.store.order({ label, at, with: "crash", skip: seeded.int(0, 3) });
    } else if (what < 0.5) {
      await rig.close();
      await rig.clock.advance(seeded.int(0, 40 * MINUTE));
      await rig.open(definitions);
    } else if (jumps && what < 0.8) {
      rig.clock.jumpWall(seeded.int(-HOUR, HOUR));
    }
    await rig.clock.advance(seeded.int(0, 8 * MINUTE), async () => {
      await settled();
      if (rig.store.crashed) {
        rig.crash();
        await rig.open(definitions);
      }
    });
  }
  if (rig.store.crashed) await rig.open(definitions);
  await settled();
  return { definitions, began };
}

async function told(rig: ScheduleRig, name: string): Promise<Told> {
  const events = (await rig.events()).filter(({ subject }) => subject === name);
  const data = events.map((event) => ({
    type: event.type,
    ...(event.data as { missed: number; scheduledMs?: number }),
  }));
  return {
    fired: data.filter(({ type }) => type === "schedule.due").map(({ scheduledMs }) => scheduledMs!),
    missed: data.reduce((sum, { missed }) => sum + missed, 0),
  };
}

function dueTimes(definition: ScheduleDefinition, from: number, to: number): number[] {
  const offset = spreadOffset(AGENT.id, definition.name, definition.spreadMs);
  const due: number[] = [];
  let next = nextDue(definition.timing, offset, from);
  for (; next !== null && next.atMs <= to; next = nextDue(definition.timing, offset, next.atMs))
    due.push(next.atMs);
  return due;
}

async function oneRunEach(rig: ScheduleRig): Promise<void> {
  const fired = (await rig.events()).filter(({ type }) => type === "schedule.due");
  const runs = await rig.runs();
  expect(runs.map(({ eventId }) => eventId).toSorted()).toEqual(fired.map(({ id }) => id).toSorted());
}

test("each due time fires once or is told to be missed, through crashes", async () => {
  for (let seed = 1; seed <= 5; seed++) {
    await using rig = new ScheduleRig();
    const { definitions, began } = await life(rig, new Seeded(seed), false);
    for (const definition of definitions) {
      const { fired, missed } = await told(rig, definition.name);
      const entry = rig.schedules.entries().find((each) => each.definition === definition)!;
      const isEvery = definition.timing.kind === "every";
      // An interval begins when the schedule does.
      const from = isEvery
        ? began.trusted + (entry.offsetMs % (definition.timing as { everyMs: number }).everyMs)
        : began.wall;
      const due = dueTimes(definition, from, entry.memory.cursorMs);
      const what = `seed ${seed} ${definition.name} ${definition.missed}`;
      expect(new Set(fired).size, what).toBe(fired.length);
      expect(
        fired.every((at) => due.includes(at)),
        what,
      ).toBe(true);
      expect(fired.length + missed, what).toBe(due.length);
      if (definition.missed === "all" && definition.maxMissed >= due.length) expect(missed, what).toBe(0);
    }
    await oneRunEach(rig);
  }
}, 120_000);

test("nothing fires twice, and only what is due, however the wall clock is set", async () => {
  for (let seed = 101; seed <= 105; seed++) {
    await using rig = new ScheduleRig();
    const { definitions, began } = await life(rig, new Seeded(seed), true);
    for (const definition of definitions) {
      const { fired, missed } = await told(rig, definition.name);
      const entry = rig.schedules.entries().find((each) => each.definition === definition)!;
      const what = `seed ${seed} ${definition.name} ${definition.missed}`;
      expect(new Set(fired).size, what).toBe(fired.length);
      if (definition.timing.kind === "every") {
        // Trusted time went on evenly: each one is accounted for.
        const from = began.trusted + (entry.offsetMs % definition.timing.everyMs);
        expect(fired.length + missed, what).toBe(dueTimes(definition, from, entry.memory.cursorMs).length);
      } else {
        const due = new Set(dueTimes(definition, began.wall - 24 * HOUR, began.wall + 48 * HOUR));
        expect(
          fired.every((at) => due.has(at)),
          what,
        ).toBe(true);
      }
    }
    await oneRunEach(rig);
  }
}, 120_000);
