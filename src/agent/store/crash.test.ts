import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { LANES } from "../../model/record.ts";
import {
  commitOf,
  failure,
  type Fixture,
  fixture,
  idsOf,
  numbered,
  readLane,
  startOf,
} from "./store-fixtures.ts";

let place: Fixture;
beforeEach(() => {
  place = fixture();
});
afterEach(() => place.end());

/** Commits without end, four at a time, and prints the number of each emit once it is acknowledged. */
const WRITER = `
  import { openAgentStore } from "${join(import.meta.dir, "open-agent-store.ts")}";
  import { systemIds } from "${join(import.meta.dir, "../../core/ids.ts")}";
  import { commitOf, startOf } from "${join(import.meta.dir, "store-fixtures.ts")}";
  const [path, prefix, faults] = process.argv.slice(2);
  const store = await openAgentStore({ path, ids: systemIds(), wall: Date.now, faults: JSON.parse(faults ?? "[]") });
  let next = 0;
  const lane = async () => {
    for (;;) {
      const name = prefix + "-" + next++;
      const runs = [{ event: 0, start: startOf("run-" + name, name + "-0") }];
      await store.commitEvents(commitOf([name + "-0", name + "-1"], { runs, checkpoint: name }));
      process.stdout.write(name + "\\n");
    }
  };
  for (let i = 0; i < 4; i++) void lane();
`;

function script(): string {
  const path = join(place.folder, "writer.ts");
  writeFileSync(path, WRITER);
  return path;
}

/** Every acknowledged emit is there as a whole, nothing is there in half, and the chains are unbroken. */
async function check(acknowledged: string[]): Promise<void> {
  const store = await place.open();
  expect(store.facts.salvage).toBeNull();
  const ids = idsOf(await readLane(store, LANES.events));
  const emits = ids.filter((id) => id.endsWith("-0")).map((id) => id.slice(0, -2));
  expect(ids).toEqual(emits.flatMap((emit) => [`${emit}-0`, `${emit}-1`]));
  expect(new Set(emits).size).toBe(emits.length);
  expect(acknowledged.filter((emit) => !emits.includes(emit))).toEqual([]);
  expect(idsOf(await readLane(store, LANES.results))).toEqual(emits.map((emit) => `run-${emit}`));
  expect((await store.openRuns()).length).toBe(emits.length);
  if (emits.length > 0) expect(await store.checkpoint("app")).toBe(emits.at(-1)!);
  await store.close();
}

describe("kill -9", () => {
  test("in the middle of group commits loses nothing that was acknowledged", async () => {
    const path = script();
    const acknowledged: string[] = [];
    for (let round = 0; round < 4; round++) {
      const writer = Bun.spawn([process.execPath, path, place.path, `k${round}`], { stdout: "pipe" });
      let text = "";
      for await (const chunk of writer.stdout) {
        text += new TextDecoder().decode(chunk);
        if (text.split("\n").length > 60 + 37 * round) writer.kill("SIGKILL");
      }
      await writer.exited;
      expect(writer.signalCode).toBe("SIGKILL");
      acknowledged.push(...text.split("\n").slice(0, -1));
      await check(acknowledged);
    }
  }, 20_000);

  test.each([
    ["commit", "before"],
    ["commit", "after"],
    ["events.insert", "after"],
    ["outbox.event", "after"],
    ["runs.insert", "after"],
    ["steps.insert", "after"],
    ["checkpoints.put", "before"],
    ["streams.head", "after"],
  ])("at %s (%s)", async (label, at) => {
    const faults = JSON.stringify([{ label, at, with: "crash", skip: 9 }]);
    const writer = Bun.spawn([process.execPath, script(), place.path, "f", faults], { stdout: "pipe" });
    const text = await new Response(writer.stdout).text();
    await writer.exited;
    expect(writer.signalCode).toBe("SIGKILL");
    await check(text.split("\n").slice(0, -1));
  });
});

const mountable = process.getuid?.() === 0 && canMount();
if (!mountable)
  console.warn("SKIPPED, not root or no right to mount: full and read-only disk on a real tmpfs");

function canMount(): boolean {
  const folder = join(import.meta.dir, `.mount-${process.pid}`);
  mkdirSync(folder);
  const mounted = mount(["-t", "tmpfs", "-o", "size=1m", "none", folder]);
  if (mounted) spawnSync("umount", [folder]);
  rmSync(folder, { recursive: true });
  return mounted;
}

function mount(args: string[]): boolean {
  return spawnSync("mount", args).status === 0;
}

describe.if(mountable)("a small disk", () => {
  let disk: string;
  let inside: Fixture;
  beforeEach(() => {
    disk = join(place.folder, "disk");
    mkdirSync(disk);
    expect(mount(["-t", "tmpfs", "-o", "size=3m", "none", disk])).toBe(true);
    inside = fixture(disk);
  });
  afterEach(async () => {
    await inside.end().catch(() => {});
    spawnSync("umount", ["-l", disk]);
  });

  test("full: what was answered stays, the rest is refused, and it goes on when there is room", async () => {
    const store = await inside.open();
    const health: (string | null)[] = [];
    store.onHealth((problem) => health.push(problem));
    const ballast = join(disk, "ballast");
    writeFileSync(ballast, new Uint8Array(1024 * 1024));
    const kept: string[] = [];
    let refused: unknown;
    for (let i = 0; refused === undefined && i < 1000; i++) {
      const ids = numbered(`b${i}`, 50);
      const runs = [{ event: 0, start: startOf(`run-${i}`, ids[0]!) }];
      await store.commitEvents(commitOf(ids, { runs })).then(
        () => kept.push(...ids),
        (error: unknown) => (refused = error),
      );
    }
    expect(refused).toMatchObject({ code: "exhausted", retryable: true });
    expect(store.problem).toContain("the disk is full");
    expect(idsOf(await readLane(store, LANES.events))).toEqual(kept);
    rmSync(ballast);
    await store.commitEvents(commitOf(["room"]));
    expect(health).toEqual([expect.stringContaining("the disk is full"), null]);
    await store.close();
    const again = await inside.open();
    expect(again.facts.salvage).toBeNull();
    expect(idsOf(await readLane(again, LANES.events))).toEqual([...kept, "room"]);
  });

  test("read-only: the store is refused with the reason", async () => {
    await (await inside.open()).close();
    expect(mount(["-o", "remount,ro", disk])).toBe(true);
    expect(await failure(inside.open())).toMatchObject({
      code: "denied",
      message: expect.stringContaining("writable for this user"),
    });
    expect(mount(["-o", "remount,rw", disk])).toBe(true);
  });
});
