/** Random commits, sessions, breaks, restarts and epochs: the hub ends with exactly what was committed, in order. */
import { afterEach, beforeEach, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { LANES } from "../model/record.ts";
import { AGENT, type HeldStream, SegmentsWorld } from "./segments-world.ts";

setDefaultTimeout(120_000);

/** What dies here is never the host. */
const MEMORY = existsSync("/dev/shm") ? "/dev/shm" : tmpdir();
const ZERO = "0".repeat(64);

let folder: string;
beforeEach(() => (folder = mkdtempSync(join(MEMORY, "holdfast-segments-"))));
afterEach(() => rmSync(folder, { recursive: true, force: true }));

async function play(seed: number): Promise<SegmentsWorld> {
  const world = new SegmentsWorld(seed, folder);
  await world.open();
  const { random } = world;
  for (let act = 0; act < 40; act++) {
    const what = random.next();
    if (what < 0.55) for (let i = random.int(1, 6); i > 0; i--) await world.commit();
    else if (what < 0.85) await world.session(false);
    else if (what < 0.9) await world.restart();
    else if (what < 0.97) await world.backUpOrRestore();
    else await world.renew("another history");
  }
  for (let tries = 0; !(await world.complete()); tries++) {
    expect(tries, `seed ${seed}`).toBeLessThan(5);
    await world.session(true);
  }
  return world;
}

/** Each stream is a run of what was committed, and each lane's streams together are all of it. */
function checkLane(world: SegmentsWorld, lane: number, held: HeldStream[]): void {
  const committed = world.committed.get(lane)!;
  const place = new Map(committed.map((mark, index) => [mark, index]));
  const seen = new Set<string>();
  for (const { marks, segment, epoch } of held) {
    const first = place.get(marks[0]!)!;
    expect(marks, `lane ${lane}, segment ${segment}, epoch ${epoch}`).toEqual(
      committed.slice(first, first + marks.length),
    );
    for (const mark of marks) seen.add(mark);
  }
  expect([...seen].toSorted()).toEqual(committed.toSorted());
  // Without another epoch nothing came twice either, and the segments follow each other.
  if (world.counts.epochs === 1) expect(held.flatMap(({ marks }) => marks)).toEqual(committed);
}

/** Of the last epoch, where everything has arrived. */
function checkLinks(held: HeldStream[], epoch: string): number {
  const streams = held.filter((stream) => stream.epoch === epoch);
  for (const stream of streams) {
    const before = streams.find(
      ({ lane, segment }) => lane === stream.lane && segment === stream.segment - 1,
    );
    expect(stream.firstLink).toBe(before?.hash ?? ZERO);
  }
  return streams.filter(({ segment }) => segment > 1).length;
}

async function checkRuns(world: SegmentsWorld): Promise<void> {
  for (const [id, mark] of world.newest) {
    expect((await world.hub.run(AGENT, id))!.run.reason, id).toBe(mark);
  }
}

test("whatever happens on the way, the hub ends with what was committed", async () => {
  let later = 0;
  const counts: Record<string, number> = {};
  for (let seed = 1; seed <= 10; seed++) {
    rmSync(folder, { recursive: true, force: true });
    folder = mkdtempSync(join(MEMORY, "holdfast-segments-"));
    const world = await play(seed).catch((error: unknown) => {
      throw new Error(`seed ${seed}`, { cause: error });
    });
    try {
      const held = world.held();
      for (const lane of [LANES.results, LANES.events]) {
        checkLane(
          world,
          lane,
          held.filter((stream) => stream.lane === lane),
        );
      }
      later += checkLinks(held, world.store.facts.epoch);
      await checkRuns(world);
      for (const [name, count] of Object.entries(world.counts)) counts[name] = (counts[name] ?? 0) + count;
    } finally {
      await world.close();
    }
  }
  // The way was bad enough, and what is tried here was there.
  expect(later).toBeGreaterThan(20);
  // Neither side ever took the other's history for another one.
  expect(counts.forks).toBe(0);
  for (const name of ["restarts", "gaps", "epochs", "restored"])
    expect(counts[name], name).toBeGreaterThan(2);
});
