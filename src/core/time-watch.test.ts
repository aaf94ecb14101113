import { expect, test } from "bun:test";
import { VirtualClock } from "../testing/virtual-clock.ts";
import { type Jump, TimeWatch } from "./time-watch.ts";

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

function watched() {
  const clock = new VirtualClock();
  let asleep = 0;
  const watch = new TimeWatch(clock, () => clock.mono() + 5 * HOUR + asleep);
  const jumps: Jump[] = [];
  const deaf = watch.onJump((jump) => jumps.push(jump));
  const sleep = (ms: number) => {
    asleep += ms;
    clock.jumpWall(ms);
  };
  watch.look();
  return { clock, watch, jumps, deaf, sleep };
}

test("a jump is told once to each listener, whoever looked", async () => {
  const { clock, watch, jumps, deaf } = watched();
  const others: Jump[] = [];
  watch.onJump((jump) => others.push(jump));
  clock.jumpWall(-HOUR);
  watch.look();
  watch.look();
  deaf();
  clock.jumpWall(2 * HOUR);
  watch.look();
  expect(jumps).toEqual([{ byMs: -HOUR, asleepMs: 0 }]);
  expect(others.map(({ byMs }) => byMs)).toEqual([-HOUR, 2 * HOUR]);
  expect(watch.jumps).toBe(2);
});

test("five minutes are no jump; what is set in steps is seen step by step", async () => {
  const { clock, watch, jumps } = watched();
  clock.jumpWall(5 * MINUTE);
  watch.look();
  clock.jumpWall(-5 * MINUTE);
  watch.look();
  clock.jumpWall(5 * MINUTE + 1);
  watch.look();
  expect(jumps.map(({ byMs }) => byMs)).toEqual([5 * MINUTE + 1]);
});

test("time that passes is no jump, and what the clock jumped over is known", async () => {
  const { clock, watch, jumps } = watched();
  const begin = clock.wall();
  await clock.advance(3 * HOUR);
  watch.look();
  expect(jumps).toEqual([]);
  expect(watch.wall.reachedMs).toBe(-Infinity);
  await clock.advance(MINUTE);
  clock.jumpWall(HOUR);
  watch.look();
  expect(watch.wall).toEqual({ nowMs: begin + 4 * HOUR + MINUTE, reachedMs: begin + 4 * HOUR });
  expect(watch.trusted.reachedMs).toBe(-Infinity);
  clock.trust(clock.trusted() + HOUR);
  watch.look();
  expect(watch.trusted.reachedMs).toBe(clock.trusted());
});

test("sleep of the host is told from a clock that was set", async () => {
  const { clock, watch, jumps, sleep } = watched();
  await clock.advance(MINUTE);
  sleep(8 * HOUR);
  watch.look();
  await clock.advance(MINUTE);
  watch.look();
  sleep(HOUR);
  clock.jumpWall(-2 * HOUR);
  watch.look();
  expect(jumps).toEqual([
    { byMs: 8 * HOUR, asleepMs: 8 * HOUR },
    { byMs: -HOUR, asleepMs: HOUR },
  ]);
});
