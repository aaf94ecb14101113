import { afterEach, beforeEach, expect, test, setDefaultTimeout } from "bun:test";
import { linkSync, mkdirSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { until } from "../../../testing/until.ts";
import { DiskWatch, measure } from "./disk-watch.ts";
import { Hostiles, MB } from "./hostile-fixtures.ts";

// Real processes on a machine that does other things too.
setDefaultTimeout(60_000);

let hostiles: Hostiles;
beforeEach(() => (hostiles = new Hostiles()));
afterEach(() => hostiles.end());

const path = (...names: string[]) => join(hostiles.folder, ...names);
const total = () => {
  const walk = measure(hostiles.folder);
  for (;;) {
    const { value, done } = walk.next();
    if (done) return value;
  }
};
const watch = (limitBytes: number, pids: number[] = []) =>
  new DiskWatch({ folder: hostiles.folder, limitBytes, mono: () => performance.now(), pids: () => pids });

test("files at every depth count, links and what they point to do not", () => {
  mkdirSync(path("a", "b"), { recursive: true });
  writeFileSync(path("a", "b", "big"), Buffer.alloc(3 * MB, 1));
  symlinkSync("/", path("root"));
  expect(total()).toMatchObject({ files: 4 });
  expect(total().bytes).toBeGreaterThanOrEqual(3 * MB);
  expect(total().bytes).toBeLessThan(3.2 * MB);
});

test("a file under two names counts once, an empty one as much as its place", () => {
  writeFileSync(path("big"), Buffer.alloc(MB, 1));
  linkSync(path("big"), path("again"));
  expect(total().bytes).toBeLessThan(1.1 * MB);
  for (let i = 0; i < 100; i++) writeFileSync(path(`empty${i}`), "");
  expect(total().bytes).toBeGreaterThanOrEqual(MB + 100 * 4096);
});

test("a hole takes no room", async () => {
  await hostiles.python("open('hole', 'w').truncate(1 << 40)").exited;
  expect(total().bytes).toBeLessThan(MB);
});

test("many files are counted slice by slice, and a look stops when it is too much", () => {
  for (let i = 0; i < 1000; i++) writeFileSync(path(`f${i}`), "x");
  const disk = watch(2 * MB);
  const steps = [];
  for (let now = 0; steps.length < 10; now += 20) {
    const step = disk.step(now, 100);
    steps.push(step);
    if (step.over) break;
  }
  expect(steps.length).toBe(3);
  expect(disk.last.files).toBe(600);
});

test("a folder in which nothing works is left alone", () => {
  const disk = watch(MB);
  expect(disk.step(0, 100)).toEqual({ over: false, nextMs: 500 });
  writeFileSync(path("big"), Buffer.alloc(2 * MB, 1));
  expect(disk.step(1000, 105).over).toBe(false);
  expect(disk.step(2000, 120).over).toBe(true);
});

test("a look comes at the latest after ten seconds", () => {
  const disk = watch(MB);
  disk.step(0, 0);
  writeFileSync(path("big"), Buffer.alloc(2 * MB, 1));
  expect(disk.step(9_000, 0).over).toBe(false);
  expect(disk.step(10_000, 0).over).toBe(true);
});

test("a deleted file that is still open counts", async () => {
  const child = hostiles.python(
    "import os, time\nf = open('x', 'wb'); f.write(b'x' * 5_000_000); f.flush(); os.unlink('x'); os.mkdir('ready'); time.sleep(60)",
  );
  await until("it is deleted", () => readdirSync(hostiles.folder).includes("ready"));
  const disk = watch(MB, [child.pid]);
  expect(disk.step(0, 100).over).toBe(true);
  expect(disk.peakBytes).toBeGreaterThanOrEqual(5_000_000);
});

test("a folder that is gone takes nothing", () => {
  rmSync(hostiles.folder, { recursive: true });
  expect(total()).toEqual({ bytes: 0, files: 0 });
  expect(watch(MB).finish().bytes).toBe(0);
});
