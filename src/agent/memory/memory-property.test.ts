/** Increments through checkouts, with holders that sleep, values that are set from outside, and crashes of the store. */
import { expect, setDefaultTimeout, test } from "bun:test";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { HoldfastError } from "../../core/errors.ts";
import { silentLogger } from "../../core/logger.ts";
import { systemIds } from "../../core/ids.ts";
import { type InProcessStore, openInProcessStore } from "../../testing/in-process-store.ts";
import { Seeded } from "../../testing/seeded.ts";
import { settled, VirtualClock } from "../../testing/virtual-clock.ts";
import { Memory } from "./memory.ts";
import { MemorySession } from "./session.ts";

setDefaultTimeout(120_000);

/** What dies here is never the host. */
const FAST = existsSync("/dev/shm") ? "/dev/shm" : tmpdir();
const GRANT = { memory: ["*"], namespaces: [] };
const WORKERS = 4;
const ROUNDS = 12;

interface World {
  clock: VirtualClock;
  random: Seeded;
  /** Increments that were acknowledged, and those of which nobody knows. */
  done: number;
  doubtful: number;
  /** Updates that came too late. */
  expired: number;
}

async function life(world: World, path: string, crashAfter: number | null, rounds: number): Promise<void> {
  const { clock, random } = world;
  let died = () => {};
  const death = new Promise<"died">((resolve) => (died = () => resolve("died")));
  const store: InProcessStore = await openInProcessStore({
    path,
    ids: systemIds(),
    wall: () => clock.wall(),
    onCrash: () => died(),
    ...(crashAfter === null
      ? {}
      : {
          faults: [
            {
              label: random.next() < 0.5 ? "memory.put" : "commit",
              at: random.next() < 0.5 ? "before" : "after",
              with: "crash",
              skip: crashAfter,
            },
          ],
        }),
  });
  const memory = new Memory({ store, clock, log: silentLogger() });
  const open = () => new MemorySession(memory, { plugin: "counter", namespace: "web", grant: GRANT });
  const increment = async (session: MemorySession) => {
    const taken = (await session.ask({ op: "checkout", key: "count", waitMs: 1e6 })) as {
      token: number;
      value: number | null;
    };
    if (random.next() < 0.4) await clock.sleep(random.next() * 4000);
    // Who belongs to a process that is dead does nothing any more.
    if (store.crashed) return await new Promise<void>(() => {});
    if (random.next() < 0.1) {
      session.close();
      return;
    }
    const value = (taken.value ?? 0) + 1;
    world.doubtful++;
    try {
      await session.ask({ op: "update", key: "count", token: taken.token, value, ttlMs: null });
      world.done++;
      world.doubtful--;
    } catch (error) {
      if (!(error instanceof HoldfastError) || error.code !== "expired") throw error;
      world.expired++;
      world.doubtful--;
    }
  };
  const worker = async () => {
    for (let round = 0; round < rounds; round++) {
      const session = open();
      await increment(session);
      session.close();
      if (random.next() < 0.3) await clock.sleep(random.next() * 100);
    }
  };
  let ended = false;
  const all = Promise.race([
    memory.start().then(() => Promise.all(Array.from({ length: WORKERS }, worker))),
    death,
  ]).finally(() => (ended = true));
  for (;;) {
    await settled();
    if (ended) break;
    clock.runNext();
  }
  memory.stop();
  if ((await all) !== "died") await store.close();
}

test("no increment is lost, and none that came too late is written, over crashes", async () => {
  const folder = mkdtempSync(join(FAST, "holdfast-memory-"));
  let expired = 0;
  let doubtful = 0;
  try {
    for (let seed = 1; seed <= 40; seed++) {
      const path = join(folder, `${seed}.db`);
      const world: World = {
        ...{ clock: new VirtualClock(), random: new Seeded(seed), done: 0, doubtful: 0, expired: 0 },
      };
      for (let crash = 0; crash < 2; crash++)
        await life(world, path, Math.floor(world.random.next() * 20), ROUNDS);
      await life(world, path, null, ROUNDS);
      const store = await openInProcessStore({ path, ids: systemIds(), wall: () => world.clock.wall() });
      const { value } = (await store.memoryGet("web", "count", world.clock.trusted()))!;
      expect(value, `seed ${seed}`).toBeWithin(world.done, world.done + world.doubtful + 1);
      await store.close();
      expired += world.expired;
      doubtful += world.doubtful;
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  // The seeds do bring about what this is about.
  expect(expired).toBeGreaterThan(50);
  expect(doubtful).toBeGreaterThan(0);
});
