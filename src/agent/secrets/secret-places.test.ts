import { expect, test } from "bun:test";
import { SecretPlaces } from "./secret-places.ts";

const places = new SecretPlaces("a1b2");
const open = (name: string) => ({ A: "va{a1b2:B}lue", B: "other" })[name] ?? `no ${name}`;

test("values come to their places, whatever they hold themselves", () => {
  const a = places.placeOf("A");
  const b = places.placeOf("B");
  const input = { text: `Bearer ${a}`, list: [b, 1, null, { deep: `${a}${b}` }], [`x-${b}`]: true };
  expect(places.fill(input, ["A", "B"], open)).toEqual({
    ...{
      text: "Bearer va{a1b2:B}lue",
      list: ["other", 1, null, { deep: "va{a1b2:B}lueother" }],
      "x-other": true,
    },
  });
});

test("a name that the step does not use is not opened, wherever it comes from", () => {
  expect(places.fill({ a: `x ${places.placeOf("B")}` }, ["A"], open)).toEqual({ a: "x ***B}" });
  expect(places.fill({ a: "{other:A} {a1b2" }, ["A"], open)).toEqual({ a: "{other:A} {a1b2" });
});
