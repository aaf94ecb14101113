import { expect, test } from "bun:test";
import { VirtualClock } from "../../testing/virtual-clock.ts";
import { Deadlines } from "./deadlines.ts";

test("fire in the order of their time with one timer, unless they are cancelled; a wall jump moves none", async () => {
  const clock = new VirtualClock();
  const deadlines = new Deadlines(clock);
  const fired: string[] = [];
  const at = (name: string, ms: number) =>
    deadlines.at(clock.trusted() + ms, () => void fired.push(`${name} ${clock.mono()}`));
  at("c", 300_000);
  at("a", 100);
  at("b", 200);
  const cancel = at("x", 150);
  at("a2", 100);
  cancel();
  cancel();
  clock.jumpWall(31_536_000_000);
  await clock.advance(99);
  expect(fired).toEqual([]);
  await clock.advance(400_000);
  expect(fired).toEqual(["a 100", "a2 100", "b 200", "c 300000"]);
  expect(clock.nextIn()).toBeNull();
});

test("are looked at again when trusted time was corrected, and none fires after a stop", async () => {
  const clock = new VirtualClock();
  const deadlines = new Deadlines(clock);
  const fired: string[] = [];
  deadlines.at(clock.trusted() + 600_000, () => void fired.push("soon"));
  clock.trust(clock.trusted() + 590_000);
  await clock.advance(60_000);
  expect(fired).toEqual(["soon"]);
  deadlines.at(clock.trusted() + 10, () => void fired.push("never"));
  deadlines.stop();
  await clock.advance(1000);
  expect(fired).toEqual(["soon"]);
});

test("many that are cancelled leave the others as they are", async () => {
  const clock = new VirtualClock();
  const deadlines = new Deadlines(clock);
  const fired: number[] = [];
  const cancels = Array.from({ length: 1000 }, (_, index) =>
    deadlines.at(clock.trusted() + 1000 - index, () => void fired.push(index)),
  );
  cancels.forEach((cancel, index) => index % 10 !== 0 && cancel());
  await clock.advance(2000);
  expect(fired).toEqual(Array.from({ length: 100 }, (_, index) => 990 - index * 10));
});
