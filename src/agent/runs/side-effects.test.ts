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

test("what the store has of the last hour is counted no shorter than it should be", async () => {
  const now = 5_000 * 60 * MINUTE;
  const begun = [now - 65 * MINUTE, now - 55 * MINUTE, now - 5 * MINUTE, now - 4 * MINUTE];
  const effects = new SideEffects(100);
  await effects.reread(async (since) => ({ p: begun.filter((ms) => ms >= since).length }), now, now);
  expect(effects.used(now)).toBe(3);
  expect(effects.used(now + 4 * MINUTE)).toBe(3);
  expect(effects.used(now + 21 * MINUTE)).toBe(2);
  expect(effects.used(now + 54 * MINUTE)).toBe(2);
  expect(effects.used(now + 62 * MINUTE)).toBe(0);
});
