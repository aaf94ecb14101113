import { describe, expect, test } from "bun:test";
import { type FiringFacts, globMatches, matchesAll, parseMatch } from "./silence.ts";

const FACTS: FiringFacts = {
  ...{ rule: "front is down", namespace: "web", pipeline: "restart-front", trigger: "front" },
  ...{ type: "probe.down", subject: null, key: "db-1", severity: "error" },
};

describe("globs", () => {
  test.each([
    ["front*", "front", true],
    ["front*", "afront", false],
    ["*", "", true],
    ["*end", "the end", true],
    ["a*b*c", "aXbYc", true],
    ["a*b*c", "acb", false],
    ["a*a", "a", false],
    ["a*a", "aa", true],
    ["**x**", "x", true],
    ["a.c", "abc", false],
    ["", "", true],
    ["[a-z]", "b", false],
    ["*ab*ab*", "abab", true],
    ["*ab*ab*", "aba", false],
  ])("%s on %s: %p", (pattern, text, matches) => expect(globMatches(pattern, text)).toBe(matches));

  test("match what a backtracking reference matches", () => {
    const reference = (pattern: string, text: string) =>
      new RegExp(`^${pattern.replaceAll("*", "[^]*")}$`).test(text);
    let seed = 7;
    const random = (n: number) => (seed = (seed * 48271) % 2147483647) % n;
    const word = (letters: string, length: number) =>
      Array.from({ length: random(length) }, () => letters[random(letters.length)]).join("");
    for (let round = 0; round < 20_000; round++) {
      const [pattern, text] = [word("ab*", 8), word("ab", 10)];
      expect(`${pattern} ${text} ${globMatches(pattern, text)}`).toBe(
        `${pattern} ${text} ${reference(pattern, text)}`,
      );
    }
  });

  test("of many stars cost no time on a long text that does not match", () => {
    expect(globMatches(`${"*a".repeat(120)}b`, "a".repeat(100_000))).toBe(false);
  });
});

describe("a match", () => {
  test.each([
    ["rule=front*", true],
    ["namespace=web", true],
    ["pipeline=restart-*", true],
    ["trigger=front", true],
    ["type=probe.*", true],
    ["subject=*", false],
    ["key=db-*", true],
    ["severity=error", true],
    ["severity=*", true],
    ["label.site=ber*", true],
    ["label.rack=*", false],
    ["rule = front is down", true],
    ["key=a=b", false],
  ])("%s: %p", (text, matches) =>
    expect(matchesAll([parseMatch(text)], FACTS, { site: "berlin" })).toBe(matches),
  );

  test("all of several must match", () => {
    const both = ["rule=front*", "key=db-2"].map(parseMatch);
    expect(matchesAll(both, FACTS, {})).toBe(false);
    expect(matchesAll(both, { ...FACTS, key: "db-2" }, {})).toBe(true);
  });

  test.each([
    ["front", '"front" is no match: write it like rule=front*'],
    ["=x", '"=x" is no match'],
    ["rul=x", "did you mean rule?"],
    ["label.=x", "there is no match of this name"],
    ["rule=", "the pattern has 1 to 256 characters"],
    [`rule=${"x".repeat(257)}`, "the pattern has 1 to 256 characters"],
    ["severity=eror", "did you mean error?"],
  ])("%s is told", (text, told) => expect(() => parseMatch(text)).toThrow(told));
});
