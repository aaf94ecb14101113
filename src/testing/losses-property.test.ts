/** Random commits, evictions, sessions, breaks, restarts and epochs: what the hub has and what is told as lost is all there was. */
import { afterEach, beforeEach, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Capability } from "../protocol/capabilities.ts";
import { AGENT, LossesWorld } from "./losses-world.ts";

setDefaultTimeout(120_000);

/** What dies here is never the host. */
const MEMORY = existsSync("/dev/shm") ? "/dev/shm" : tmpdir();

let folder: string;
beforeEach(() => (folder = mkdtempSync(join(MEMORY, "holdfast-losses-"))));
afterEach(() => rmSync(folder, { recursive: true, force: true }));

async function play(world: LossesWorld, epochs: boolean): Promise<void> {
  await world.open();
  const { random } = world;
  for (let act = 0; act < 40; act++) {
    const what = random.next();
    if (what < 0.55) for (let i = random.int(1, 6); i > 0; i--) await world.commit();
    else if (what < 0.65) await world.store.trim();
    else if (what < 0.9) await world.session(false);
    else if (what < 0.96 || !epochs) await world.restart();
    else await world.renew();
  }
  for (let tries = 0; await lagging(world); tries++) {
    expect(tries).toBeLessThan(5);
    await world.session(true);
  }
}

async function lagging(world: LossesWorld): Promise<boolean> {
  return (await world.store.streams()).some(({ last, acknowledged }) => acknowledged < last);
}

async function lostBy(world: LossesWorld): Promise<number> {
  const { lost } = (await world.store.stats()).outbox;
  return Object.values(lost).reduce((sum, { cap = 0 }) => sum + cap, 0);
}

test.each<[string, readonly Capability[], boolean]>([
  ["in one stream a lane, over epochs", ["loss"], true],
  ["in segments", ["loss", "segments"], false],
])(
  "rows of the hub and lost ones together are those that were committed: %s",
  async (_name, common, epochs) => {
    const counts: Record<string, number> = {};
    let lost = 0;
    for (let seed = 1; seed <= 12; seed++) {
      rmSync(folder, { recursive: true, force: true });
      folder = mkdtempSync(join(MEMORY, "holdfast-losses-"));
      const world = new LossesWorld(seed, folder, common);
      try {
        await play(world, epochs);
        const gone = await world.hub.lostRows(AGENT);
        expect([seed, world.held() + gone]).toEqual([seed, world.committed]);
        expect([seed, gone]).toEqual([seed, await lostBy(world)]);
        lost += gone;
        for (const [name, count] of Object.entries(world.counts)) counts[name] = (counts[name] ?? 0) + count;
      } catch (error) {
        throw new Error(`seed ${seed}`, { cause: error });
      } finally {
        await world.close();
      }
    }
    // The way was bad enough, and what is tried here was there.
    expect(lost).toBeGreaterThan(500);
    expect(counts.forks).toBe(0);
    expect(counts.restarts).toBeGreaterThan(10);
    if (epochs) expect(counts.epochs).toBeGreaterThan(15);
  },
);
