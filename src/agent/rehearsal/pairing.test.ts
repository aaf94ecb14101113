import { expect, test } from "bun:test";
import { pairUp, TimedPairs } from "./pairing.ts";
import type { Compared, Deed } from "./ports.ts";

const run = (rule: string, root: string, detail: Deed["detail"] = {}, run: string | null = null): Deed => ({
  kind: "run",
  rule,
  what: "p",
  root,
  atMs: 0,
  event: null,
  detail,
  run,
});
const said = (all: Compared[]) =>
  all.map(({ verdict, deed }) => `${verdict} ${deed.rule} ${deed.root}`).toSorted();

test("deeds of the same event are paired by rule and what they do", () => {
  const proposed = [run("a", "n 1"), run("b", "n 1"), run("c", "n 2", { x: 1 })];
  const past = [run("c", "n 2", { x: 2 }), run("a", "n 1"), run("d", "n 1")];
  expect(said(pairUp(proposed, past))).toEqual([
    "added b n 1",
    "changed c n 2",
    "removed d n 1",
    "same a n 1",
  ]);
});

test("of several alike those with the same parameters find each other, whatever their order", () => {
  const proposed = [run("a", "n 1", { x: 1, y: 2 }), run("a", "n 1", { x: 2 }), run("a", "n 1", { x: 3 })];
  const past = [run("a", "n 1", { x: 9 }, "r1"), run("a", "n 1", { y: 2, x: 1 }, "r2")];
  const compared = pairUp(proposed, past);
  expect(compared.map(({ verdict, was }) => [verdict, was?.run])).toEqual([
    ["same", "r2"],
    ["changed", "r1"],
    ["added", undefined],
  ]);
});

test("what time brought about finds its counterpart a little later, from either side, in order", () => {
  const pairs = new TimedPairs();
  expect(pairs.add("added", run("a", "absent a x", { first: true }), 0)).toBeNull();
  expect(pairs.add("added", run("a", "absent a x", { first: false }), 1000)).toBeNull();
  expect(pairs.expire(2000)).toEqual([]);
  expect(pairs.add("removed", run("a", "absent a x", { first: true }, "r1"), 2000)).toMatchObject({
    verdict: "same",
  });
  expect(pairs.add("removed", run("a", "absent a y"), 2000)).toBeNull();
  expect(said(pairs.expire(302_000))).toEqual(["added a absent a x"]);
  expect(said(pairs.expire(302_001))).toEqual(["removed a absent a y"]);
});

test("however many wait, no more are held than there may be", () => {
  const pairs = new TimedPairs();
  let over = 0;
  for (let i = 0; i < 30_000; i++) {
    pairs.add("added", run("a", `absent a ${i % 3 === 0 ? "same" : i}`), 0);
    over += pairs.expire(0).length;
  }
  expect(over).toBe(20_000);
  expect(pairs.expire(Infinity)).toHaveLength(10_000);
});
