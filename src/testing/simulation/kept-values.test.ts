import { expect, test } from "bun:test";
import { CountedKey, KeptValue } from "./kept-values.ts";

test("a value whose write was not answered may be there or not, one that was answered is there", () => {
  const kept = new KeptValue();
  expect(kept.begin(1, "a")).toBe(true);
  expect(kept.begin(1, "b")).toBe(false);
  kept.done("a");
  expect(kept.found(null)).toContain("is null");
  kept.begin(1, "b");
  expect(kept.begin(2, "c")).toBe(true);
  kept.failed();
  expect(kept.found("b")).toBeNull();
  expect(kept.found("a")).toContain("none of b");
});

test("an addition that was answered is not lost, and one that was refused is not there", () => {
  const counted = new CountedKey();
  for (let i = 0; i < 3; i++) counted.sent();
  expect([counted.confirmed(1), counted.confirmed(2)]).toEqual([true, true]);
  expect(counted.confirmed(2)).toBe(false);
  expect(counted.problem(3)).toBeNull();
  counted.expired();
  expect(counted.problem(3)).not.toBeNull();
  expect(counted.problem(2)).toBeNull();
  expect(counted.problem(1)).not.toBeNull();
});
