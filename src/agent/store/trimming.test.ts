import { expect, test } from "bun:test";
import { until } from "../../testing/until.ts";
import { TrimStep } from "./trim-step.ts";
import { calmness, Trimming } from "./trimming.ts";

test("a step shrinks and grows to what fits into its time, by half at most", () => {
  const step = new TrimStep(2000);
  for (let i = 0; i < 20; i++) step.took(0.1);
  expect(step.rows).toBe(2000);
  step.took(40);
  expect(step.rows).toBe(1000);
  step.took(0);
  expect(step.rows).toBe(1500);
  step.took(1.2);
  expect(step.rows).toBe(1250);
  for (let i = 0; i < 20; i++) step.took(1000);
  expect(step.rows).toBe(16);
});

test("it hurries while the store grows in spite of it, and calms down after that", () => {
  let calm = 50;
  for (let i = 0; i < 20; i++) calm = calmness(calm, 1);
  expect(calm).toBe(0.25);
  expect(calmness(calm, 0)).toBeGreaterThan(calm);
  for (let i = 0; i < 200; i++) calm = calmness(calm, -1);
  expect(calm).toBe(50);
});

/** Steps of 2 ms each by a clock that stands still otherwise; pauses are noted and end when they are told to. */
function rig(steps: number) {
  let now = 0;
  let left = steps;
  const seen: string[] = [];
  let wake: (() => void) | undefined;
  const trimming = new Trimming({
    step: async () => {
      now += 2;
      seen.push("step");
      return { more: --left > 0, excess: left };
    },
    moveLog: async () => seen.push("log"),
    mono: () => now,
    after: (ms, callback) => {
      seen.push(`pause ${ms}`);
      wake = callback;
      return () => {};
    },
  });
  const pausing = () => until("a pause", () => wake !== undefined);
  return { trimming, seen, pausing, go: () => [wake, (wake = undefined)][0]!() };
}

test("after each step the log is moved, and commits have fifty times as long for themselves", async () => {
  const { trimming, seen, pausing, go } = rig(3);
  const done = Promise.all([trimming.run(), trimming.run()]);
  for (let pause = 0; pause < 2; pause++) {
    await pausing();
    go();
  }
  await done;
  expect(seen).toEqual(["step", "log", "pause 100", "step", "log", "pause 100", "step"]);
});

test("it ends in a pause when the store is closed", async () => {
  const { trimming, seen, pausing } = rig(3);
  const done = trimming.run();
  await pausing();
  trimming.stop();
  await done;
  expect(seen).toEqual(["step", "log", "pause 100"]);
});
