import { expect, test } from "bun:test";
import { settled, VirtualClock } from "../testing/virtual-clock.ts";
import { keepTrustedTime, type TimeMark } from "./trusted-time.ts";

const START = Date.UTC(2026, 5, 1);
const HOUR = 3_600_000;
const YEAR = 365 * 24 * HOUR;

/** What is kept, over processes and boots of a host whose uptime nobody sets. */
class Host {
  mark: unknown;
  boot = "first";
  realMs = START;
  readonly #bootedMs = START - HOUR;
  writes = 0;

  /** A process that starts while the wall clock is off by so much; its trusted time, and the end of it after `ms`. */
  async life(wallOffMs: number, ms: number, kept = true): Promise<[begin: number, end: number]> {
    const clock = new VirtualClock(this.realMs + wallOffMs);
    const began = this.realMs;
    const uptimeMs = () => began + clock.mono() - this.#bootedMs;
    const marks = {
      read: async () => this.mark,
      write: async (mark: TimeMark) => {
        this.writes++;
        this.mark = JSON.parse(JSON.stringify(mark));
      },
    };
    const time = await keepTrustedTime(marks, clock, { boot: this.boot, uptimeMs });
    const begin = clock.trusted() - START;
    await clock.advance(ms);
    const end = clock.trusted() - START;
    if (kept) await time.keep();
    time.stop();
    await clock.advance(HOUR, settled);
    this.realMs = began + ms;
    return [begin, end];
  }
}

test("goes on over restarts, and is kept each minute until it is told to stop", async () => {
  const host = new Host();
  expect(await host.life(0, HOUR, false)).toEqual([0, HOUR]);
  expect(host.writes).toBe(60);
  expect(await host.life(0, HOUR)).toEqual([HOUR, 2 * HOUR]);
});

test("a wall clock that is a year off while the agent starts again moves nothing", async () => {
  for (const off of [YEAR, -YEAR]) {
    const host = new Host();
    await host.life(0, HOUR);
    expect(await host.life(off, HOUR)).toEqual([HOUR, 2 * HOUR]);
    host.realMs += HOUR;
    expect(await host.life(0, HOUR)).toEqual([3 * HOUR, 4 * HOUR]);
  }
});

test("after a boot only the wall clock knows how long the host was off; set back, nothing goes back", async () => {
  const host = new Host();
  await host.life(0, HOUR);
  host.boot = "second";
  expect(await host.life(-YEAR, HOUR)).toEqual([HOUR, 2 * HOUR]);
  host.boot = "third";
  host.realMs += 10 * HOUR;
  expect(await host.life(0, HOUR)).toEqual([12 * HOUR, 13 * HOUR]);
});

test("an uptime that is not there, or went back, is not believed; an older mark is a number", async () => {
  const host = new Host();
  await host.life(0, HOUR);
  for (const uptimeMs of [null, 1e12]) {
    host.mark = { trustedMs: START + 5 * HOUR, boot: "first", uptimeMs };
    expect((await host.life(0, 0, false))[0]).toBe(5 * HOUR);
  }
  host.mark = START + 6 * HOUR;
  expect((await host.life(0, 0, false))[0]).toBe(6 * HOUR);
  for (const odd of [null, "soon", { trustedMs: "x" }, undefined]) {
    host.mark = odd;
    expect((await host.life(0, 0, false))[0]).toBe(HOUR);
  }
});
