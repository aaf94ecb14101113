import { expect, test } from "bun:test";
import { editDistance, nearest } from "./nearest.ts";

test.each([
  ["helth", ["health", "hub"], "health"],
  ["Heatlh", ["health", "hub"], "health"],
  ["inf", ["debug", "info", "warn"], "info"],
  ["runn", ["run", "rule"], "run"],
  ["xyz", ["health", "hub"], undefined],
  ["", ["a"], undefined],
  ["d", ["a"], undefined],
  ["triggers", [], undefined],
])("nearest(%p, %p) is %p", (word, candidates, expected) =>
  expect(nearest(word, candidates)).toBe(expected as string),
);

test.each([
  ["", "", 0],
  ["abc", "abc", 0],
  ["abc", "acb", 1],
  ["kitten", "sitting", 3],
  ["ca", "abc", 3],
])("editDistance(%p, %p) is %p", (a, b, distance) => expect(editDistance(a, b)).toBe(distance));
