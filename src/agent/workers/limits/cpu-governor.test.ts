import { afterEach, beforeEach, describe, expect, test, setDefaultTimeout } from "bun:test";
import { systemClock } from "../../../core/clock.ts";
import { CpuGovernor } from "./cpu-governor.ts";
import { Hostiles, resources } from "./hostile-fixtures.ts";
import { LimitWatcher } from "./limit-watch.ts";
import { readStat } from "./proc-stat.ts";

// Real processes on a machine that does other things too.
setDefaultTimeout(60_000);

/** A worker that always wants `threads` cores, with the kernel's coarse count, and the governor on a late timer. */
function simulate(share: number, threads: number, seconds: number) {
  const governor = new CpuGovernor(share);
  let cpu = 0;
  let from = { at: 0, cpu: 0 };
  for (let now = 0; now < seconds * 1000;) {
    const { nextMs } = governor.step(now, Math.floor(cpu / 10) * 10);
    const wait = nextMs + ((now * 7) % 5);
    if (!governor.stopped) cpu += threads * wait;
    now += wait;
    // The start, with its credit, does not count.
    if (now > 5000 && from.at === 0) from = { at: now, cpu };
    if (now >= seconds * 1000) return (cpu - from.cpu) / (now - from.at);
  }
  throw new Error("unreachable");
}

describe("a share is held to within a point", () => {
  for (const share of [0.05, 0.1, 0.25, 0.5, 1.5]) {
    for (const threads of [1, 4]) {
      test(`${share} of ${threads}`, () => {
        const wanted = Math.min(share, threads);
        expect(Math.abs(simulate(share, threads, 65) - wanted)).toBeLessThan(0.01 * Math.max(1, share));
      });
    }
  }
});

test("an idle worker is looked at four times a second and never stopped", () => {
  const governor = new CpuGovernor(0.1);
  for (let now = 0; now < 10_000; now += 250) {
    expect(governor.step(now, 0)).toEqual({ signal: null, nextMs: 250 });
  }
  expect(governor.throttledMs(10_000)).toBe(0);
});

test("what a slow look let through is paid back by a second at most", () => {
  const governor = new CpuGovernor(0.05);
  governor.step(0, 0);
  expect(governor.step(250, 5_000).signal).toBe("SIGSTOP");
  expect(governor.step(1_000, 5_000).signal).toBe("SIGSTOP");
  expect(governor.step(1_260, 5_000).signal).toBe("SIGCONT");
  expect(governor.throttledMs(2_000)).toBe(1_010);
});

test("the start of an engine is not held up", () => {
  const governor = new CpuGovernor(0.1);
  governor.step(0, 0);
  expect(governor.step(200, 200).signal).toBeNull();
});

describe("real spinning processes", () => {
  const clock = systemClock();
  let hostiles: Hostiles;
  let watcher: LimitWatcher;
  beforeEach(() => {
    hostiles = new Hostiles();
    watcher = new LimitWatcher(clock);
  });
  afterEach(async () => {
    watcher.stop();
    await hostiles.end();
  });

  /** Share that the whole session got over some seconds, when it has settled. */
  async function measured(script: string, share: number): Promise<number> {
    const child = hostiles.sh(script);
    const watch = watcher.add({
      pid: child.pid,
      resources: resources({ cpu: share }),
      folder: hostiles.folder,
      leaf: null,
      host: false,
      confined: true,
      kill: () => {},
    });
    await clock.sleep(1500);
    // What a busy machine's late looks let through is told apart: nobody can make up for it.
    const counted = () => watch.peak().cpuMs - watch.forgivenMs();
    const before = { at: clock.mono(), cpu: counted() };
    await clock.sleep(4000);
    const got = (counted() - before.cpu) / (clock.mono() - before.at);
    expect(watch.throttledMs()).toBeGreaterThan(0);
    watch.stop();
    expect(readStat(child.pid)!.state).not.toBe("T");
    return got;
  }

  // From above only half strictly, as four seconds hold the length of one stop more or less; from below it may be the
  // other tests that took the processor.
  for (const share of [0.1, 0.25, 0.5]) {
    test(`one at ${share}`, async () => {
      const got = await measured("while :; do :; done", share);
      console.info(`  a share of ${share}: ${got.toFixed(3)}`);
      expect(got).toBeLessThan(share + 0.035);
      expect(got).toBeGreaterThan(0.01);
    });
  }

  test("a family in three groups", async () => {
    const spin = "while :; do :; done";
    const script = `setsid sh -c '${spin}' & sh -c '${spin}' & ${spin}`;
    const got = await measured(script, 0.3);
    expect(got).toBeLessThan(0.36);
    expect(got).toBeGreaterThan(0.01);
  });
});
