import { expect, test } from "bun:test";
import { SideEffects } from "./side-effects.ts";

const MINUTE = 60_000;

test("an hour slides by minutes, in all and by pipeline", () => {
  const effects = new SideEffects(3);
  const at = (minute: number) => 1_000 * 60 * MINUTE + minute * MINUTE;
  expect(effects.refusal("p", 2, at(0))).toBeNull();
  effects.count("p", at(0));
  effects.count("p", at(30));
  expect(effects.refusal("p", 2, at(59))).toContain("side_effects_per_hour of pipeline p");
  expect(effects.refusal("p", null, at(59))).toBeNull();
  effects.count("q", at(59));
  expect(effects.refusal("r", null, at(59))).toContain("limits.side_effects");
  expect(effects.news(at(60))).toContain("limits.side_effects");
  expect(effects.news(at(69))).toBeNull();
  expect(effects.used(at(60))).toBe(3);
  expect(effects.refusal("p", 2, at(61))).toBeNull();
  expect(effects.used(at(61))).toBe(2);
  effects.takeBack("q", at(59));
  expect(effects.used(at(61))).toBe(1);
  expect(effects.used(at(200))).toBe(0);
});

test("what earlier lives counted goes when its own minute does", () => {
  const now = 5_000 * 60 * MINUTE;
  const effects = new SideEffects(100);
  const at = (minutes: number, count: number) => ({ minute: now / MINUTE + minutes, pipeline: "p", count });
  effects.load([at(-5, 2), at(-60, 1), at(-55, 4)]);
  effects.count("p", now);
  expect(effects.used(now)).toBe(8);
  expect(effects.used(now + MINUTE)).toBe(7);
  expect(effects.used(now + 5 * MINUTE)).toBe(7);
  expect(effects.used(now + 6 * MINUTE)).toBe(3);
  expect(effects.refusal("p", 3, now + 55 * MINUTE)).toContain("side_effects_per_hour of pipeline p");
  expect(effects.refusal("p", 3, now + 56 * MINUTE)).toBeNull();
  expect(effects.used(now + 61 * MINUTE)).toBe(0);
});
