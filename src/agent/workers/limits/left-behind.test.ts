import { afterEach, beforeEach, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { until } from "../../../testing/until.ts";
import { Hostiles } from "./hostile-fixtures.ts";
import { killLeftBehind } from "./left-behind.ts";
import { readStat } from "./proc-stat.ts";

let hostiles: Hostiles;
beforeEach(() => (hostiles = new Hostiles()));
afterEach(() => hostiles.end());

// Real processes on a machine that does other things too.
setDefaultTimeout(60_000);

const isRunning = (pid: number) => !["Z", undefined].includes(readStat(pid)?.state);

test("what has a worker's folder in its environment goes with all that it started, others stay", async () => {
  const own = join(hostiles.folder, "exec-1");
  const other = join(hostiles.folder, "exec-10");
  const script = (name: string) =>
    `setsid env -u TMPDIR sleep 60 & echo $! > ${name}.new; mv ${name}.new ${name}; wait`;
  const mine = hostiles.sh(`export TMPDIR=${own}; exec sh -c '${script("mine")}'`);
  const theirs = hostiles.sh(`export TMPDIR=${other}; exec sh -c '${script("theirs")}'`);
  const files = ["mine", "theirs"].map((name) => join(hostiles.folder, name));
  await until("both have started theirs", () => files.every((file) => existsSync(file)));
  const [child, stranger] = files.map((file) => Number(readFileSync(file, "utf8")));
  expect(killLeftBehind([own])).toBeGreaterThanOrEqual(2);
  await mine.exited;
  await until("the child is gone", () => !isRunning(child!));
  expect([isRunning(theirs.pid), isRunning(stranger!)]).toEqual([true, true]);
});

test("nobody is harmed where no worker left anything", () => {
  expect(killLeftBehind([])).toBe(0);
  expect(killLeftBehind([join(hostiles.folder, "exec-2")])).toBe(0);
});
