import { afterEach, beforeEach, expect, test, setDefaultTimeout } from "bun:test";
import { until } from "../../../testing/until.ts";
import { Hostiles, MB } from "./hostile-fixtures.ts";
import {
  allProcesses,
  childrenOf,
  descendants,
  parseMemory,
  parseStat,
  ProcReader,
  readStat,
} from "./proc-stat.ts";

// Real processes on a machine that does other things too.
setDefaultTimeout(60_000);

let hostiles: Hostiles;
beforeEach(() => (hostiles = new Hostiles()));
afterEach(() => hostiles.end());

test("a stat line is read from its last bracket on", () => {
  const rest = "S 7 42 42 0 -1 4194560 99 0 0 0 150 50 20 10 20 0 3 0 12345 1000 200";
  expect(parseStat(`42 (a) R 1 (x y) ${rest}`)).toEqual({
    pid: 42,
    state: "S",
    ppid: 7,
    group: 42,
    session: 42,
    cpuMs: 2300,
    threads: 3,
    started: 12345,
  });
});

test("memory is what is resident and no file's", () => {
  const status =
    "Name:\tx\nGroups:\t1 2\nVmRSS:\t 600 kB\nRssAnon:\t     300 kB\nRssFile:\t     200 kB\nRssShmem:\t     100 kB\n";
  expect(parseMemory(status)).toBe(400 * 1024);
  // Gone, and not yet waited for.
  expect(parseMemory("Name:\tx\nState:\tZ (zombie)\n")).toBe(0);
});

test("memory, time and session of a real process", async () => {
  const child = hostiles.python(
    "x = bytearray(b'x') * 64_000_000\nprint('up', flush=True)\nimport time; time.sleep(60)",
  );
  const reader = new ProcReader(child.pid);
  await until("it holds its memory", () => (reader.memory() ?? 0) > 60 * MB);
  expect(reader.memory()).toBeLessThan(90 * MB);
  expect(reader.stat()).toMatchObject({
    pid: child.pid,
    session: child.pid,
    group: child.pid,
    ppid: process.pid,
  });
  child.kill("SIGKILL");
  await child.exited;
  expect(reader.stat()).toBeNull();
  expect(reader.memory()).toBeNull();
  expect(reader.runs()).toBe("");
  reader.close();
  expect(() => new ProcReader(child.pid)).toThrow();
});

test("running shows, also when it took no time to speak of", async () => {
  const child = hostiles.run(["sleep", "60"]);
  const reader = new ProcReader(child.pid);
  await until("it waits", () => reader.stat()?.state === "S");
  const [stat, runs] = [reader.stat(), reader.runs()];
  expect(reader.runs()).toBe(runs);
  child.kill("SIGSTOP");
  child.kill("SIGCONT");
  await until("it ran", () => reader.runs() !== runs);
  expect(reader.stat()!.cpuMs).toBeLessThanOrEqual(stat!.cpuMs + 10);
  reader.close();
});

test("children of every generation are found", async () => {
  const child = hostiles.sh("sh -c 'sleep 60 & sleep 61; :' & wait");
  await until("all four run", () => descendants([child.pid])?.length === 4);
  expect(childrenOf(child.pid)).toHaveLength(1);
  const session = allProcesses().filter((stat) => stat.session === child.pid);
  expect(session.map((stat) => stat.pid).sort()).toEqual(descendants([child.pid])!.sort());
  expect(readStat(2 ** 30)).toBeNull();
});
