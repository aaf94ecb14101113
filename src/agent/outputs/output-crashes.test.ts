import { expect, test } from "bun:test";
import { HoldfastError } from "../../core/errors.ts";
import type { CloudEvent } from "../../model/event.ts";
import { OutputRig, SOURCE } from "../../testing/output-rig.ts";
import { Seeded } from "../../testing/seeded.ts";

/** What a destination has seen of each life of the agent, as numbers of the events that it is to get. */
class Destination {
  readonly lives: number[][] = [];
  highest = -1;

  begin(): void {
    this.lives.push([]);
  }

  take(events: CloudEvent[], wanted: string[]): void {
    for (const { id } of events) {
      const place = wanted.indexOf(id);
      const life = this.lives.at(-1)!;
      if (place < 0) throw new Error(`${id} was not for this output`);
      if (place > this.highest + 1) throw new Error(`${id} came before what stands ahead of it`);
      if (life.length > 0 && place <= life.at(-1)!) throw new Error(`${id} came twice, or late, in one life`);
      life.push(place);
      this.highest = Math.max(this.highest, place);
    }
  }
}

/** Fails, takes part, takes all and dies, and takes all, as chance has it. */
function hostile(
  rig: OutputRig,
  random: Seeded,
  destination: Destination,
  wanted: string[],
  broken: string[],
) {
  return async (events: CloudEvent[]) => {
    const { store } = rig;
    try {
      if (random.chance(0.2)) throw new Error("down");
      const count = random.chance(0.3) ? random.int(0, events.length - 1) : events.length;
      destination.take(events.slice(0, count), wanted);
      if (random.chance(0.15)) store.crash();
      if (count < events.length)
        throw new HoldfastError("failed", "full", {
          details: { code: "failed", partial: { taken: count, rejected: [] } },
          // Nothing taken and no use in trying would be a word against the event.
          retryable: count === 0 || random.chance(0.5),
        });
    } catch (error) {
      if (!(error instanceof HoldfastError) && (error as Error).message !== "down")
        broken.push((error as Error).message);
      throw error;
    }
  };
}

async function live(seed: number): Promise<void> {
  const random = new Seeded(seed);
  const rig = new OutputRig();
  const [wanted, broken]: [string[], string[]] = [[], []];
  const destination = new Destination();
  const open = () => {
    const at = random.pick(["before", "after"] as const);
    const fault = { label: "output_cursors.put", at, with: "crash", skip: random.int(1, 8) };
    return rig.open(random.chance(0.6) ? [fault] : []);
  };
  const start = () => {
    destination.begin();
    rig.start(hostile(rig, random, destination, wanted, broken), {
      batch: { events: random.int(1, 9), bytes: 1e6, delayMs: random.pick([0, 1000]) },
      accepts: ({ type }) => type !== "other",
    });
    return rig.settle();
  };
  const reborn = async () => {
    rig.pump.stop();
    await open();
    await start();
  };
  const add = async (ids: string[]) => {
    const kept = ids.filter((id) => id.startsWith("e-"));
    // They may be handed over before the commit is answered.
    wanted.push(...kept);
    const isKept = await Promise.race([rig.add(ids).then(() => true), crashed(rig)]);
    if (isKept) return;
    rig.pump.stop();
    await open();
    const known = await rig.store.knownEvents(SOURCE, ids.slice(0, 1));
    if (known.length === 0) wanted.splice(wanted.length - kept.length, kept.length);
    await start();
  };
  await open();
  await start();
  for (let count = 0; count < 60;) {
    if (rig.store.crashed) await reborn();
    await add(
      Array.from({ length: random.int(1, 12) }, () => `${random.pick(["e", "e", "other"])}-${count++}`),
    );
    for (let turn = random.int(0, 30); turn > 0; turn--) rig.clock.runNext();
    await rig.settle();
    if (random.chance(0.2)) rig.store.crash();
  }
  const all = () => destination.highest === wanted.length - 1;
  for (let lives = 0; !all(); lives++) {
    if (lives > 200) throw new Error(`only ${destination.highest + 1} of ${wanted.length} came`);
    if (rig.store.crashed) await reborn();
    await rig.until("all, or a crash", () => rig.store.crashed || broken.length > 0 || all());
    expect([seed, broken]).toEqual([seed, []]);
  }
  expect([seed, broken]).toEqual([seed, []]);
  expect(destination.lives.length).toBeGreaterThan(1);
  await rig.end();
}

async function crashed(rig: OutputRig): Promise<false> {
  await rig.death;
  return false;
}

test.each(Array.from({ length: 25 }, (_, index) => index + 1))(
  "each event at least once, in order, through crashes: seed %d",
  async (seed) => await live(seed),
  30_000,
);
