import { expect, test } from "bun:test";
import { GUESTS, ROLES } from "./guests.ts";

const sorted = (names: Iterable<string>) => [...new Set(names)].toSorted();

test("what is not tried in each guest is tried in one of them", () => {
  expect(sorted(GUESTS.map(({ up }) => up))).toEqual(sorted(ROLES));
  expect(sorted(GUESTS.map(({ suite }) => suite))).toEqual(["root", "user"]);
  expect(sorted(GUESTS.flatMap(({ everyday }) => everyday))).toEqual(["restricted", "root", "user"]);
  const limits = GUESTS.flatMap((guest) => (guest.limits === null ? [] : [guest.limits]));
  expect(sorted(limits)).toEqual(["controllers", "watch"]);
});

test("guests are told apart by a part of their names", () => {
  for (const { name } of GUESTS)
    expect(GUESTS.filter((other) => other.name.includes(name)).map((other) => other.name)).toEqual([name]);
});

test("controllers are tried only where they hold the limits", () => {
  for (const { limits, levels } of GUESTS) {
    if (limits === "controllers") expect(levels.unit.limits).toBe("enforced");
    if (limits === "watch") expect(levels.unit.limits).toBe("partial");
  }
});
